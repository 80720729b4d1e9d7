//! One test binary; its files are the layers.
#[cfg(test)]
mod simulator_endpoints;
#[cfg(test)]
mod simulator_faults;
#[cfg(test)]
mod simulator_http;
#[cfg(test)]
mod simulator_rules;
#[cfg(test)]
mod simulator_support;
