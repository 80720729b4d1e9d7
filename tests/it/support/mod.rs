//! What several layers share: a scene to put one identity in, and a small model of HID.
pub(crate) mod hid_model;
pub(crate) mod scene;
pub(crate) mod world;
