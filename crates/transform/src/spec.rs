//! A transform as it is stored: the `transform` member of a target.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json};

use crate::script::Script;
use crate::tencent::{EtlFilter, Extraction, OutputTransform};

/// How an event becomes what a target receives, as stored with the target.
///
/// JSON with a `kind`; unknown kinds and members are refused. No transform at all means the same
/// as `none`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum TransformSpec {
    /// The event as it was received.
    None {
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// One value out of the event, as JSON.
    Path {
        /// Where the value is, `$.data` for example.
        path: String,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// A text with `${…}` placeholders.
    Template {
        /// The text.
        template: String,
        /// What stands for a value that is not there; nothing by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<Missing>,
        /// Media type of the result; plain text by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// A Jinja template, evaluated outside of the server's process.
    Jinja {
        /// The template.
        template: String,
        /// Media type of the result; plain text by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// A Starlark script, evaluated outside of the server's process.
    Script {
        /// The script, with `def dw_process(msg)`.
        source: String,
        /// Members of `msg.vars`, made in this order: a value as it is, or `{"script": "..."}`.
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        vars: Map<String, Json>,
        /// Media type of a text that the script returns; plain text by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// A JSON document whose strings may hold `${…}` placeholders.
    Json {
        /// The document; its members keep their order.
        template: Json,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// The same body for every event: exactly one of `value` and `text`.
    Constant {
        /// A JSON value; `null` counts as given.
        #[serde(
            default,
            deserialize_with = "given",
            skip_serializing_if = "Option::is_none"
        )]
        value: Option<Json>,
        /// A plain text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// AWS's input transformer.
    Aws {
        /// Names and the paths of their values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        input_paths_map: BTreeMap<String, String>,
        /// Text with `<name>` placeholders; JSON when it starts with `{`.
        input_template: String,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
    /// Tencent's three steps; the members inside carry the vendor's names.
    Tencent {
        /// Takes a part of the event.
        #[serde(default, alias = "Extraction", skip_serializing_if = "Option::is_none")]
        extraction: Option<Extraction>,
        /// Decides whether the event goes on.
        #[serde(default, alias = "EtlFilter", skip_serializing_if = "Option::is_none")]
        etl_filter: Option<EtlFilter>,
        /// Builds the output.
        #[serde(default, alias = "Transform", skip_serializing_if = "Option::is_none")]
        transform: Option<OutputTransform>,
        /// What to do when rendering fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on_error: Option<OnError>,
    },
}

impl TransformSpec {
    /// What the author wants when rendering fails; `None` leaves it to the kind of target.
    pub fn on_error(&self) -> Option<OnError> {
        match self {
            Self::None { on_error }
            | Self::Path { on_error, .. }
            | Self::Template { on_error, .. }
            | Self::Jinja { on_error, .. }
            | Self::Script { on_error, .. }
            | Self::Json { on_error, .. }
            | Self::Constant { on_error, .. }
            | Self::Aws { on_error, .. }
            | Self::Tencent { on_error, .. } => *on_error,
        }
    }

    /// The script, if it is one.
    pub fn script(&self) -> Option<Script> {
        match self {
            Self::Script { source, vars, .. } => Some(Script::read(source, vars)),
            _ => None,
        }
    }

    /// The `kind` as written in JSON, for metrics and history.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None { .. } => "none",
            Self::Path { .. } => "path",
            Self::Template { .. } => "template",
            Self::Jinja { .. } => "jinja",
            Self::Script { .. } => "script",
            Self::Json { .. } => "json",
            Self::Constant { .. } => "constant",
            Self::Aws { .. } => "aws",
            Self::Tencent { .. } => "tencent",
        }
    }
}

/// What happens to a delivery whose transform fails.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub enum OnError {
    /// The delivery fails permanently.
    Fail,
    /// The event is sent as it was received: a badly formatted alarm beats a lost one.
    SendOriginal,
}

/// What a text template shows for a value that is not there.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// Nothing.
    #[default]
    Empty,
    /// `-`
    Dash,
}

/// Keeps `"value": null` apart from no `value` at all.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_reads_back_as_written() {
        for value in [
            json!({"kind": "none"}),
            json!({"kind": "path", "path": "$.data", "onError": "fail"}),
            json!({"kind": "template", "template": "${$.id}", "missing": "dash",
                   "contentType": "text/markdown", "onError": "sendOriginal"}),
            json!({"kind": "script", "source": "def dw_process(msg): return", "vars": {"z": 1, "a": {"script": "x"}}}),
            json!({"kind": "json", "template": {"z": "${$.id}", "a": [1, null]}}),
            json!({"kind": "constant", "value": null}),
            json!({"kind": "constant", "text": "ping"}),
            json!({"kind": "aws", "inputPathsMap": {"id": "$.id"}, "inputTemplate": "<id>"}),
            json!({"kind": "tencent",
                   "extraction": {"ExtractionInputPath": "$.data", "Format": "JSON"},
                   "transform": {"OutputStructs": [
                       {"Key": "k", "Value": "$.a", "ValueType": "JSONPATH"}]}}),
        ] {
            let spec: TransformSpec = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(serde_json::to_value(&spec).unwrap(), value);
            assert_eq!(value["kind"], spec.kind());
            let text = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<TransformSpec>(&text).unwrap(), spec);
        }
    }

    #[test]
    fn unknown_kinds_and_members_are_refused() {
        for text in [
            r#"{"kind":"jina","template":"x"}"#,
            r#"{"kind":"path","path":"$","x":1}"#,
            r#"{"kind":"none","path":"$"}"#,
            r#"{"kind":"script","source":"x","template":"y"}"#,
            r#"{"kind":"path","path":"$","onError":"send_original"}"#,
            r#"{"kind":"tencent","extraction":{"Format":"JSON","x":1}}"#,
            r#"{"path":"$"}"#,
        ] {
            assert!(
                serde_json::from_str::<TransformSpec>(text).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn the_members_of_a_json_template_keep_their_order() {
        let text = r#"{"kind":"json","template":{"z":1,"a":2,"m":3}}"#;
        let spec: TransformSpec = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), text);
    }

    #[test]
    fn tencents_own_member_names_and_nulls_are_read() {
        let text = r#"{"kind":"tencent","Extraction":null,"EtlFilter":{"Filter":"{}"},
            "Transform":{"OutputStructs":[{"Key":"a","Value":"1","ValueType":"NUMBER"}]}}"#;
        let spec: TransformSpec = serde_json::from_str(text).unwrap();
        let TransformSpec::Tencent {
            extraction: None,
            etl_filter: Some(filter),
            ..
        } = spec
        else {
            panic!("{spec:?}");
        };
        assert_eq!(filter.filter, "{}");
    }
}
