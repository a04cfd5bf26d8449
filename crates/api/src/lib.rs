//! HTTP: routes, extractors, problem documents, OpenAPI.
