//! One test binary; its files are the layers.

#[cfg(test)]
mod store_contract;
