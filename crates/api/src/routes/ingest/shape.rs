//! Shapes of events for the API document. Reading them is `belfry-model`'s.
#![expect(dead_code, reason = "only their shape is used")]

use utoipa::ToSchema;

/// An event of `CloudEvents` 1.0 as JSON. Any other member is an extension attribute: a name of a-z and 0-9, and a string, a whole
/// number of 32 bits, `true` or `false`.
#[derive(ToSchema)]
pub(crate) struct CloudEvent {
    /// Always `1.0`.
    #[schema(examples("1.0"))]
    specversion: String,
    /// With `source` it tells the event from all others; the same pair again is a duplicate.
    #[schema(examples("order-1001-created"))]
    id: String,
    /// Where it comes from, a URI reference.
    #[schema(examples("/shop/orders"))]
    source: String,
    /// What has happened.
    #[schema(rename = "type", examples("com.example.order.created"))]
    kind: String,
    /// What it happened to.
    #[schema(required = false)]
    subject: String,
    /// When, in RFC 3339.
    #[schema(required = false, format = DateTime)]
    time: String,
    /// The media type of `data`; absent: `application/json`.
    #[schema(required = false)]
    datacontenttype: String,
    /// An absolute URI.
    #[schema(required = false)]
    dataschema: String,
    /// The payload: any JSON value, or the text of another media type. Not together with `data_base64`.
    #[schema(required = false)]
    data: serde_json::Value,
    /// A payload of bytes, in base64.
    #[schema(required = false)]
    data_base64: String,
}

/// Plain JSON, one object or an array of them. Any other member is kept where it is and can be matched.
#[derive(ToSchema)]
pub(crate) struct PlainEvent {
    /// Where it comes from.
    #[schema(examples("cvm.cloud.tencent"))]
    source: String,
    /// What has happened.
    #[schema(rename = "type", examples("cvm:ErrorEvent:DiskReadonly"))]
    kind: String,
    /// Absent: the server makes one; with an `Idempotency-Key` it follows from that.
    #[schema(required = false)]
    id: String,
    /// When: RFC 3339, or milliseconds since 1970 as a number. Absent: now.
    #[schema(required = false)]
    time: serde_json::Value,
    /// What it happened to.
    #[schema(required = false)]
    subject: String,
    /// The payload: any JSON value.
    #[schema(required = false)]
    data: serde_json::Value,
}
