//! (being written)
use std::sync::Arc;
pub struct Api;
impl Api {
    pub fn new(
        _: Arc<crate::engine::Engine>,
        _: &crate::config::Config,
        _: Arc<dyn Fn() -> bool + Send + Sync>,
    ) -> Self {
        Self
    }
}
pub fn router(_: Arc<Api>) -> axum::Router {
    axum::Router::new()
}
pub async fn serve(
    _: tokio::net::TcpListener,
    _: axum::Router,
    soft: tokio_util::sync::CancellationToken,
) {
    soft.cancelled().await
}
