//! What several layers share: alerts, dice, a scene to put one identity in, a small model of HID, a manager, what is
//! logged, and what a test needs of its machine.
pub(crate) mod alerts;
pub(crate) mod cluster;
pub(crate) mod dice;
pub(crate) mod hid_model;
pub(crate) mod lanes;
pub(crate) mod lines;
pub(crate) mod machine;
pub(crate) mod manager;
pub(crate) mod scene;
pub(crate) mod world;
