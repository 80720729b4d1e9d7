//! Durations as text: whole numbers with units, the largest first, such as `1h30m`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration; `None` if the text is not one.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = &rest[..letters];
        rest = &rest[letters..];
        // The search goes on where it stopped, so that no unit comes twice.
        let (_, ms) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*ms)?)?;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// Writes a duration the way it is read.
pub(super) fn text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (name, ms) in UNITS {
        if rest >= ms {
            text.push_str(&(rest / ms).to_string());
            text.push_str(name);
            rest %= ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_alike() {
        for (given, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1m30s500ms", 90_500),
        ] {
            assert_eq!(parse(given), Some(Duration::from_millis(ms)), "{given}");
            assert_eq!(text(Duration::from_millis(ms)), given);
        }
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        assert_eq!(text(Duration::ZERO), "0s");
        assert_eq!(parse("90s").map(text).as_deref(), Some("1m30s"));
    }

    #[test]
    fn anything_else_is_refused() {
        for given in [
            "",
            "30",
            "s",
            "-5s",
            "1.5h",
            "5 m",
            "30s5m",
            "1s1s",
            "5M",
            "1y",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse(given), None, "{given}");
        }
    }
}
