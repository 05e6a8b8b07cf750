//! Answers as JSON, and problems that programs can tell apart.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::audit::AuditError;
use crate::registry::DeviceError;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    diagnostics: Vec<Value>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl ToString) -> Self {
        Self { status, code, message: message.to_string(), diagnostics: Vec::new() }
    }

    /// The host is not ready for this, and why.
    pub(super) fn not_ready(diagnostics: Vec<Value>) -> Self {
        let message = "the host is not ready for this; `diagnostics` says why".to_owned();
        Self { status: StatusCode::CONFLICT, code: "not_ready", message, diagnostics }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "error": { "code": self.code, "message": self.message },
            "diagnostics": self.diagnostics,
        });
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<DeviceError> for Problem {
    fn from(error: DeviceError) -> Self {
        let (status, code) = match error {
            DeviceError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_device"),
            DeviceError::Ambiguous(_) => (StatusCode::CONFLICT, "ambiguous_device"),
            DeviceError::UnknownGuest(_) => (StatusCode::NOT_FOUND, "unknown_guest"),
            DeviceError::AmbiguousGuest(_) => (StatusCode::CONFLICT, "ambiguous_guest"),
            DeviceError::TooManyEnded(_) => (StatusCode::CONFLICT, "too_many_ended"),
            DeviceError::Name => (StatusCode::UNPROCESSABLE_ENTITY, "bad_name"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        };
        Self::new(status, code, error)
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "audit", error)
    }
}

pub(super) type Answer = Result<axum::Json<Value>, Problem>;

pub(super) async fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; /api/openapi.json lists what there is")
}

pub(super) async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "not with this method; /api/openapi.json lists what there is",
    )
}

/// A request's body. None at all counts as an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).cloned();
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| Problem::new(error.status(), "body", error))?;
        let json = kind.as_ref().and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        });
        if !bytes.is_empty() && !json {
            let text = "send the body as `Content-Type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", text));
        }
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        // Fields have names: an array in their order is no body of ours.
        let fields = serde_json::from_slice::<Map<String, Value>>(text);
        let value = fields.and_then(|fields| serde_json::from_value(Value::Object(fields)));
        value.map(Self).map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "body", error))
    }
}
