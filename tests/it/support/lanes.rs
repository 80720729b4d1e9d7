//! The lanes of the scene's one person and of phone 900, and how most stories with them begin.

use origo_adapter::core::effect::Lane;
use origo_adapter::core::observation::Happening;

use super::scene::{Scene, container, manager, phone_id, wish_launch};

pub(crate) fn user_lane() -> Lane {
    Lane::CmUser(manager())
}

pub(crate) fn invitation_lane() -> Lane {
    Lane::Invitation(manager())
}

pub(crate) fn read_lane() -> Lane {
    Lane::Read(manager())
}

pub(crate) fn phone_lane() -> Lane {
    Lane::Phone(phone_id("900"))
}

pub(crate) fn removal_lane() -> Lane {
    Lane::Removal(phone_id("900"))
}

/// HID tells of phone 900 something that nobody knows.
pub(crate) fn phone_other() -> Happening {
    Happening::PhoneOther {
        container: container("900"),
    }
}

/// Launched, and no user made yet.
pub(crate) fn launched() -> Scene {
    let mut scene = Scene::new();
    scene.wish(wish_launch(1));
    scene
}
