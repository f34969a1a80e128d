//! An HTTP server that answers everything with the same bytes: the most that hyper can do here.

use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};

use crate::serve::{Answer, json};

/// Answers a POST with what was PUT last.
#[derive(Clone, Default)]
pub(crate) struct Echo {
    answer: Arc<Mutex<Bytes>>,
}

impl Answer for Echo {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        let is_put = request.method() == Method::PUT;
        let Ok(body) = request.into_body().collect().await else {
            return json(StatusCode::BAD_REQUEST, r#"{"error":"the body broke off"}"#);
        };
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        if is_put {
            *answer = body.to_bytes();
        }
        json(StatusCode::OK, answer.clone())
    }
}
