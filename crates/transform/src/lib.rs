//! Turns an event into what a target receives: paths, templates, bounded output. Pure.
//!
//! # What it owns
//!
//! The language of a target's `transform` member ([`TransformSpec`]): paths ([`Path`]), `${…}`
//! text and JSON templates with their filters, constants, and the input transformers of two
//! vendors, AWS and Tencent, which compile to the same parts. `docs/reference/transforms.md`
//! describes it for users; the examples there are run as tests.
//!
//! # What it must never know
//!
//! Buses, rules and targets as objects, storage, HTTP, channels, clocks: the time, the names and
//! the ids come in with the [`Context`], the escape that a channel needs comes in as an
//! [`Escape`]. The pattern language is not known either: Tencent's filter step takes a compiler.
//!
//! # Life of a transform
//!
//! | step | when | fails with |
//! |---|---|---|
//! | [`Transform::compile`] | the target is saved | all errors, with place and hint |
//! | [`Transform::render`] | each delivery | [`RenderError`]; the same input fails again |
//!
//! A compiled transform is immutable and shared between threads. Nothing here panics on outside
//! input, and time and memory are bounded by the sizes of event, template and output: a value is
//! inserted once and what was inserted is never read again.
//!
//! # Values keep their text
//!
//! Values that are copied whole come out byte for byte: number text (`1.10`), member order,
//! escapes and blanks. When an event repeats a name within an object, paths see the last one; a
//! copied object still holds them all.

#![forbid(unsafe_code)]

mod aws;
mod error;
mod escape;
mod filter;
mod json;
pub mod limits;
mod path;
mod scan;
mod script;
mod spec;
mod template;
mod tencent;

pub use error::{RenderError, TransformError};
pub use escape::Escape;
pub use path::{Path, PathError};
pub use script::{Script, Variable};
pub use spec::{Missing, OnError, TransformSpec};
pub use template::Context;
pub use tencent::{
    EtlFilter, EtlFilterCompiler, EtlMatch, Extraction, OutputStruct, OutputTransform, TextParams,
};

use error::{Errors, TRANSFORM_ERROR};
use limits::{JINJA_BYTES_MAX, OUTPUT_BYTES_MAX, TEMPLATE_BYTES_MAX};
use path::{Found, PathSet};
use template::Program;

/// A compiled transform; cheap to share behind an `Arc`.
#[derive(Clone, Debug)]
pub struct Transform {
    plan: Plan,
    output_limit: usize,
}

#[derive(Clone, Debug)]
enum Plan {
    Original,
    Path {
        paths: PathSet,
        text: String,
    },
    /// A text template; JSON when its media type says so.
    Text {
        program: Program,
        kind: ContentKind,
    },
    /// A Jinja template. Whoever renders it has a helper process for it; see [`Transform::jinja`].
    Jinja {
        template: String,
        kind: ContentKind,
    },
    /// A script, likewise; see [`Transform::script`].
    Script {
        script: Script,
        kind: ContentKind,
    },
    /// A program whose output is JSON by construction.
    Json(Program),
    /// An AWS template that starts as JSON; what it renders is checked.
    CheckedJson(Program),
    Constant {
        body: Vec<u8>,
        kind: ContentKind,
    },
    Tencent(tencent::Compiled),
}

/// What a target receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The bytes, UTF-8.
    pub body: Vec<u8>,
    /// What they are.
    pub content_type: ContentKind,
}

/// Media type of a rendered body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentKind {
    /// `application/json`
    Json,
    /// Plain text.
    Text,
    /// What the template's author asked for.
    Custom(String),
}

impl ContentKind {
    /// The value for a `content-type` header.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Custom(text) => text,
        }
    }
}

impl Transform {
    /// Compiles a spec; on failure gives every error found, at most [`limits::ERRORS_MAX`].
    ///
    /// A Tencent spec with an `EtlFilter` is refused: use [`Self::compile_with`].
    pub fn compile(spec: &TransformSpec) -> Result<Self, Vec<TransformError>> {
        Self::compile_inner(spec, None)
    }

    /// Compiles a spec with a compiler for the pattern of Tencent's filter step.
    pub fn compile_with(
        spec: &TransformSpec,
        etl_filter: EtlFilterCompiler<'_>,
    ) -> Result<Self, Vec<TransformError>> {
        Self::compile_inner(spec, Some(etl_filter))
    }

    fn compile_inner(
        spec: &TransformSpec,
        etl_filter: Option<EtlFilterCompiler<'_>>,
    ) -> Result<Self, Vec<TransformError>> {
        let mut errors = Errors::default();
        let plan = match spec {
            TransformSpec::None { .. } => Plan::Original,
            TransformSpec::Path { path, .. } => {
                let mut paths = PathSet::default();
                match Path::parse(path) {
                    Ok(path) => {
                        paths.insert(&path);
                    }
                    Err(error) => errors.push(
                        TransformError::within("/path", path, error.offset, error.message)
                            .with_hint(error.hint),
                    ),
                }
                Plan::Path {
                    paths,
                    text: path.clone(),
                }
            }
            TransformSpec::Template {
                template,
                missing,
                content_type,
                ..
            } => {
                let kind = content_kind(content_type.as_deref(), &mut errors);
                let missing = missing.unwrap_or_default();
                let program = if template.len() > TEMPLATE_BYTES_MAX {
                    let message = format!("the template is larger than {TEMPLATE_BYTES_MAX} bytes");
                    errors.push(TransformError::at("/template", message));
                    Program::new(template::Dialect::Ours, missing)
                } else {
                    template::compile(template, missing, "/template", &mut errors)
                };
                Plan::Text { program, kind }
            }
            TransformSpec::Jinja {
                template,
                content_type,
                ..
            } => {
                let kind = content_kind(content_type.as_deref(), &mut errors);
                if template.len() > JINJA_BYTES_MAX {
                    let message = format!("the template is larger than {JINJA_BYTES_MAX} bytes");
                    errors.push(TransformError::at("/template", message));
                }
                Plan::Jinja {
                    template: template.clone(),
                    kind,
                }
            }
            TransformSpec::Script {
                source,
                vars,
                content_type,
                ..
            } => {
                let kind = content_kind(content_type.as_deref(), &mut errors);
                let script = Script::read(source, vars);
                script.check(&mut errors);
                Plan::Script { script, kind }
            }
            TransformSpec::Json { template, .. } => {
                Plan::Json(json::compile(template, "/template", &mut errors))
            }
            TransformSpec::Constant { value, text, .. } => {
                let (body, kind) = match (value, text) {
                    (Some(value), None) => (value.to_string(), ContentKind::Json),
                    (None, Some(text)) => (text.clone(), ContentKind::Text),
                    (Some(_), Some(_)) | (None, None) => {
                        let message = "give exactly one of `value` and `text`";
                        errors.push(TransformError::at("", message));
                        (String::new(), ContentKind::Text)
                    }
                };
                if body.len() > TEMPLATE_BYTES_MAX {
                    let message = format!("the constant is larger than {TEMPLATE_BYTES_MAX} bytes");
                    let pointer = if value.is_some() { "/value" } else { "/text" };
                    errors.push(TransformError::at(pointer, message));
                }
                Plan::Constant {
                    body: body.into_bytes(),
                    kind,
                }
            }
            TransformSpec::Aws {
                input_paths_map,
                input_template,
                ..
            } => {
                let aws::Compiled { program, is_json } =
                    aws::compile(input_paths_map, input_template, &mut errors);
                if is_json {
                    Plan::CheckedJson(program)
                } else {
                    Plan::Text {
                        program,
                        kind: ContentKind::Text,
                    }
                }
            }
            TransformSpec::Tencent {
                extraction,
                etl_filter: filter,
                transform,
                ..
            } => Plan::Tencent(tencent::compile(
                extraction.as_ref(),
                filter.as_ref(),
                transform.as_ref(),
                etl_filter,
                &mut errors,
            )),
        };
        errors.into_result(Self {
            plan,
            output_limit: OUTPUT_BYTES_MAX,
        })
    }

    /// The Jinja template, if it is one, and what escape its values need when they go where `escape` says. It is
    /// evaluated by the caller, outside of this process, and comes back through [`Self::finish_text`].
    pub fn jinja(&self, escape: Escape) -> Option<(&str, Escape)> {
        match &self.plan {
            Plan::Jinja { template, kind } => {
                let escape = if *kind == ContentKind::Json {
                    Escape::Json
                } else {
                    escape
                };
                Some((template, escape))
            }
            _ => None,
        }
    }

    /// The script, if it is one. It is evaluated by the caller, outside of this process, and comes back through
    /// [`Self::finish_text`] or [`Self::finish_json`].
    pub fn script(&self) -> Option<&Script> {
        match &self.plan {
            Plan::Script { script, .. } => Some(script),
            _ => None,
        }
    }

    /// The JSON text that a script gave, as a body.
    pub fn finish_json(&self, text: String) -> Result<Rendered, RenderError> {
        let limit = self.output_limit;
        bounded(text.into_bytes(), limit, "the script", ContentKind::Json)
    }

    /// The text that a Jinja template or a script gave, as a body.
    pub fn finish_text(&self, text: String) -> Result<Rendered, RenderError> {
        let (Plan::Jinja { kind, .. } | Plan::Script { kind, .. }) = &self.plan else {
            return Err(RenderError::Elsewhere);
        };
        if *kind == ContentKind::Json {
            check_json(&text)?;
        }
        bounded(
            text.into_bytes(),
            self.output_limit,
            "the template",
            kind.clone(),
        )
    }

    /// Sets another bound for the rendered body, in bytes.
    #[must_use]
    pub fn with_output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    /// Renders one event.
    pub fn render(&self, event: &[u8], ctx: &Context<'_>) -> Result<Rendered, RenderError> {
        self.render_with(event, ctx, Escape::None)
    }

    /// Renders one event; in templates each inserted text is escaped for its medium.
    pub fn render_with(
        &self,
        event: &[u8],
        ctx: &Context<'_>,
        escape: Escape,
    ) -> Result<Rendered, RenderError> {
        let limit = self.output_limit;
        let text = || {
            scan::validate(event).map_err(|error| RenderError::InvalidEvent {
                message: error.to_string(),
            })
        };
        let (body, content_type) = match &self.plan {
            // Neither looks into the event.
            Plan::Original => {
                return bounded(event.to_vec(), limit, "the event", ContentKind::Json);
            }
            Plan::Constant { body, kind } => {
                return bounded(body.clone(), limit, "the constant", kind.clone());
            }
            Plan::Path { paths, text: path } => {
                let found = paths
                    .evaluate(text()?)
                    .map_err(|much| RenderError::TooMuchWork {
                        code: TRANSFORM_ERROR,
                        message: much.0,
                    })?;
                let body = match found.first() {
                    None | Some(Found::Missing) => "null".to_owned(),
                    Some(Found::One(raw)) => (*raw).to_owned(),
                    Some(Found::Many(list)) => path::list_text(list),
                };
                return bounded(body.into_bytes(), limit, path, ContentKind::Json);
            }
            Plan::Text { program, kind } => {
                let body = program.render(text()?, ctx, escape, limit)?;
                if *kind == ContentKind::Json {
                    check_json(&body)?;
                }
                (body, kind.clone())
            }
            Plan::Jinja { .. } | Plan::Script { .. } => {
                return Err(RenderError::Elsewhere);
            }
            Plan::Json(program) => (
                program.render(text()?, ctx, escape, limit)?,
                ContentKind::Json,
            ),
            Plan::CheckedJson(program) => {
                let body = program.render(text()?, ctx, escape, limit)?;
                check_json(&body)?;
                (body, ContentKind::Json)
            }
            Plan::Tencent(compiled) => (compiled.render(text()?, ctx, limit)?, ContentKind::Json),
        };
        Ok(Rendered {
            body: body.into_bytes(),
            content_type,
        })
    }
}

fn bounded(
    body: Vec<u8>,
    limit: usize,
    place: &str,
    content_type: ContentKind,
) -> Result<Rendered, RenderError> {
    if body.len() > limit {
        let place = template::shortened(place);
        return Err(RenderError::TooLarge {
            code: TRANSFORM_ERROR,
            limit,
            place,
        });
    }
    Ok(Rendered { body, content_type })
}

fn check_json(body: &str) -> Result<(), RenderError> {
    scan::validate(body.as_bytes())
        .map(|_| ())
        .map_err(|error| RenderError::InvalidJson {
            message: error.to_string(),
        })
}

/// A media type goes into a header, so only what cannot break one is let through.
fn content_kind(text: Option<&str>, errors: &mut Errors) -> ContentKind {
    let Some(text) = text else {
        return ContentKind::Text;
    };
    let (essence, _) = text.split_once(';').unwrap_or((text, ""));
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    let valid = text.len() <= 128
        && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        && essence
            .trim_end()
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if !valid {
        let message = "a media type has the form `text/markdown; charset=utf-8`";
        errors.push(TransformError::at("/contentType", message));
    }
    if essence.trim_end().eq_ignore_ascii_case("application/json") {
        ContentKind::Json
    } else {
        ContentKind::Custom(text.to_owned())
    }
}
