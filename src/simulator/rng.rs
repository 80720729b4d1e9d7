//! `SplitMix64`: small, seeded, the same on every machine. Not for secrets.

/// A stream of reproducible numbers.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let drawn = self.next();
        if bound == 0 { 0 } else { drawn % bound }
    }

    /// A delay in `1..=most` milliseconds.
    pub(super) fn delay(&mut self, most: u64) -> i64 {
        i64::try_from(self.below(most)).unwrap_or(i64::MAX - 1) + 1
    }

    /// A number in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        let high = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(high) / 4_294_967_296.0
    }

    pub(super) fn uuid(&mut self) -> uuid::Uuid {
        let bytes = (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// `length` letters and digits of `alphabet`.
    pub(super) fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        let size = u64::try_from(alphabet.len()).unwrap_or(1);
        (0..length)
            .filter_map(|_| {
                usize::try_from(self.below(size))
                    .ok()
                    .and_then(|index| alphabet.get(index))
            })
            .map(|byte| char::from(*byte))
            .collect()
    }
}
