//! (being written)
pub struct Step;
pub fn step() {}
