//! The files of `public/`, inside the program: whatever stands in front may
//! serve them from the folder instead.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../public/", $name)))),*]
    };
}

static FILES: &[(&str, &[u8])] = files! {
    "style.css" "favicon.svg"
    "products/bag.svg" "products/basket.svg" "products/board.svg" "products/book.svg" "products/bottle.svg"
    "products/bowl.svg" "products/can.svg" "products/candle.svg" "products/carafe.svg" "products/clock.svg"
    "products/cloth.svg" "products/cup.svg" "products/flowerpot.svg" "products/glass.svg" "products/jar.svg"
    "products/kettle.svg" "products/knife.svg" "products/lamp.svg" "products/mill.svg" "products/packet.svg"
    "products/pan.svg" "products/plate.svg" "products/pot.svg" "products/soap.svg" "products/spoon.svg"
    "products/tin.svg" "products/trowel.svg" "products/twine.svg"
};

/// `GET /assets/{*path}`.
pub(crate) async fn serve(Path(path): Path<String>) -> Response {
    let Some((name, bytes)) = FILES.iter().find(|(name, _)| *name == path) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let kind = if name.ends_with(".css") { "text/css; charset=utf-8" } else { "image/svg+xml" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")], *bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_has_its_picture() {
        for product in crate::catalogue::PRODUCTS {
            let name = format!("products/{}.svg", product.picture);
            assert!(FILES.iter().any(|(file, _)| *file == name), "{name}");
        }
    }
}
