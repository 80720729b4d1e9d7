//! Policies of a credential manager: their defaults, and what is refused.

use origo_adapter::config::{OverLimit, Phones, SameDevice};

use super::Site;

#[test]
fn policies_have_defaults() {
    let site = Site::new();
    let config = site.load(&site.manager(), &[]).unwrap();
    let hq = &config.credential_managers["hq"];
    let phones = Phones {
        max_per_identity: 5,
        over_limit: OverLimit::Refuse,
        same_device: SameDevice::KeepAll,
    };
    assert_eq!(hq.phones, phones);
    assert!(!hq.repair_drift);
}

#[test]
fn policies_are_taken_as_written() {
    let site = Site::new();
    let manager = site.manager();
    let text = format!(
        "{manager}drift.policy = \"repair\"\n[credential_managers.hq.phones]\n\
         max_per_identity = 1\nover_limit = \"retire_oldest\"\nsame_device = \"keep_newest\""
    );
    let config = site.load(&text, &[]).unwrap();
    let hq = &config.credential_managers["hq"];
    let phones = Phones {
        max_per_identity: 1,
        over_limit: OverLimit::RetireOldest,
        same_device: SameDevice::KeepNewest,
    };
    assert_eq!(hq.phones, phones);
    assert!(hq.repair_drift);
}

#[test]
fn a_policy_that_does_not_exist_is_refused() {
    let site = Site::new();
    let manager = site.manager();
    for (case, text, wanted) in [
        (
            "policies of phones",
            format!(
                "{manager}[credential_managers.hq.phones]\n\
                 max_per_identity = 0\nover_limit = \"drop\"\nsame_device = true\nmost = 5"
            ),
            "credential_managers.hq.phones.max_per_identity: must be a whole number from 1 to 4294967295, not 0 (in config.toml)\n\
             credential_managers.hq.phones.most: unknown key (in config.toml)\n\
             credential_managers.hq.phones.over_limit: must be \"refuse\" or \"retire_oldest\", not \"drop\" (in config.toml)\n\
             credential_managers.hq.phones.same_device: must be \"keep_all\" or \"keep_newest\", not true (in config.toml)",
        ),
        (
            "policies of drift",
            format!("{manager}drift = {{ policy = \"fight\" }}"),
            "credential_managers.hq.drift.policy: must be \"report\" or \"repair\", not \"fight\" (in config.toml)",
        ),
    ] {
        assert_eq!(site.complaints(&text, &[]), wanted, "{case}");
    }
}
