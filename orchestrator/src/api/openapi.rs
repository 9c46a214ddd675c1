//! The OpenAPI document, `/openapi.json`: made of the descriptions at the handlers.

use utoipa::openapi::{
    InfoBuilder, OpenApi, OpenApiBuilder, ServerBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

const DESCRIPTION: &str = "What a service of Amore does and knows. Errors are problems by RFC 9457: `detail` says what is \
    wrong, `where` where, `hint` what to do. On the Unix socket no token is needed: what a user may do there is decided by \
    the permissions of the files.";

/// A document without paths.
pub fn document(base_path: &str) -> OpenApi {
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token of `amore token new`. The names in `security` are the rights that it needs to have.",
        ))
        .build();
    let components = utoipa::openapi::ComponentsBuilder::new()
        .security_scheme("token", SecurityScheme::Http(token))
        .build();
    let info = InfoBuilder::new()
        .title("Amore")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .build();
    let server = ServerBuilder::new().url(if base_path.is_empty() { "/" } else { base_path }).build();
    OpenApiBuilder::new().info(info).components(Some(components)).servers(Some([server])).build()
}
