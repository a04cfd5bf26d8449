//! Strict reading of settings.

use std::fmt;
use std::marker::PhantomData;

use belfry_model::FieldError;
use belfry_model::json::from_slice;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads settings; every mistake comes with its pointer and, for an unknown member, the nearest known name.
pub(crate) fn read<T: DeserializeOwned>(settings: &Value) -> Result<T, Vec<FieldError>> {
    if !settings.is_object() {
        return Err(vec![FieldError::new(
            "",
            "expected an object with the settings of the target",
        )]);
    }
    from_slice(settings.to_string().as_bytes())
}

/// Reads a part of settings from an object only; by itself serde takes a list of values in order as well.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    input: D,
) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    input.deserialize_map(Object(PhantomData))
}

/// The same for a part that may be null.
pub(crate) fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    input: D,
) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_none<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }
        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Option<T>, D::Error> {
            object(input).map(Some)
        }
    }
    input.deserialize_option(Object(PhantomData))
}

/// The JSON Schema of settings.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// Pushes an error unless `value` lies within the bounds.
pub(crate) fn check_range(
    pointer: &str,
    value: u64,
    low: u64,
    high: u64,
    errors: &mut Vec<FieldError>,
) {
    if value < low || value > high {
        errors.push(FieldError::new(
            pointer,
            format!("expected {low} to {high}, got {value}"),
        ));
    }
}
