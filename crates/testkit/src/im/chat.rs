//! WeCom, DingTalk, Feishu, Teams.

use std::time::{Duration, Instant};

use anyhow::Result;
use http::Method;
use serde_json::{Value, json};

use super::{
    Im, Pass, Said, Service, Window, all_texts, answer, between, forbidden_mention, hmac, is_json,
    path, query, refuse, text, texts,
};
use crate::sink::{Received, Reply};

const MINUTE: Duration = Duration::from_mins(1);

impl Im {
    /// A WeCom group robot: 20 messages a minute.
    pub async fn wecom(key: &str) -> Result<Self> {
        let robot = WeCom {
            key: key.to_owned(),
        };
        Self::start("", robot, vec![Window::new(20, MINUTE)]).await
    }

    /// A DingTalk custom robot: 20 messages a minute, else silence for ten minutes. With a `secret` it wants
    /// signatures, with a `keyword` that.
    pub async fn dingtalk(
        access_token: &str,
        secret: Option<&str>,
        keyword: Option<&str>,
    ) -> Result<Self> {
        let robot = DingTalk {
            access_token: access_token.to_owned(),
            secret: secret.map(str::to_owned),
            keyword: keyword.map(str::to_owned),
            blocked_until: None,
        };
        Self::start("", robot, vec![Window::new(20, MINUTE)]).await
    }

    /// A Feishu custom bot: 100 messages a minute, 5 a second. With a `secret` it wants signatures, with a `keyword` that.
    pub async fn feishu(token: &str, secret: Option<&str>, keyword: Option<&str>) -> Result<Self> {
        let bot = Feishu {
            token: token.to_owned(),
            secret: secret.map(str::to_owned),
            keyword: keyword.map(str::to_owned),
        };
        let windows = vec![
            Window::new(100, MINUTE),
            Window::new(5, Duration::from_secs(1)),
        ];
        Self::start("", bot, windows).await
    }

    /// A workflow of Teams: 4 requests a second.
    pub async fn teams() -> Result<Self> {
        let path = "/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?sig=teams-signature-0123456789";
        let windows = vec![Window::new(4, Duration::from_secs(1))];
        Self::start(path, Teams { path }, windows).await
    }
}

struct WeCom {
    key: String,
}

impl WeCom {
    fn says(code: i64, words: &str) -> Said {
        let hint = "hint: [1700000000_1_abcdef], from ip: 203.0.113.10, more info at https://open.work.weixin.qq.com/devtool/query";
        let words = format!("{words}, {hint}");
        refuse(200, code, &json!({ "errcode": code, "errmsg": words }))
    }
}

impl Service for WeCom {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        if path(request) != "/cgi-bin/webhook/send"
            || query(request, "key").as_deref() != Some(&self.key)
        {
            return Self::says(93_000, "invalid webhook url");
        }
        if request.method != Method::POST || !is_json(request) || !body.is_object() {
            return Self::says(47_001, "data format error");
        }
        let kind = text(body, "/msgtype");
        let limit = match kind {
            "text" => 2048,
            "markdown" | "markdown_v2" => 4096,
            _ => return Self::says(40_008, "invalid message type"),
        };
        let content = text(body, &format!("/{kind}/content"));
        if content.is_empty() {
            return Self::says(44_004, "empty content");
        }
        if content.len() > limit {
            let words =
                format!("{kind}.content exceed max length {limit}. invalid Request Parameter");
            return Self::says(40_058, &words);
        }
        let called = between(content, "<@", ">").into_iter();
        let called = called
            .chain(texts(body, "/text/mentioned_list"))
            .chain(texts(body, "/text/mentioned_mobile_list"))
            .map(|who| who.trim_start_matches('@'));
        if !pass.may_call(called) {
            return forbidden_mention();
        }
        if !pass.in_time() {
            return Self::says(45_009, "api freq out of limit");
        }
        Said::Taken(answer(200, &json!({ "errcode": 0, "errmsg": "ok" })))
    }
}

struct DingTalk {
    access_token: String,
    secret: Option<String>,
    keyword: Option<String>,
    blocked_until: Option<Instant>,
}

impl DingTalk {
    fn says(code: i64, words: &str) -> Said {
        refuse(200, code, &json!({ "errcode": code, "errmsg": words }))
    }

    fn too_fast() -> Said {
        let body = json!({
            "errcode": 130_101, "errmsg": "send too fast, exceed 20 times per minute",
            "punish": "deny", "wait": 5,
        });
        refuse(200, 130_101, &body)
    }
}

impl Service for DingTalk {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        if request.method != Method::POST {
            return Self::says(43_002, "require POST method");
        }
        if !is_json(request) {
            return Self::says(43_004, "invalid contenttype");
        }
        if path(request) != "/robot/send"
            || query(request, "access_token").as_deref() != Some(&self.access_token)
        {
            return Self::says(300_005, "token is not exist");
        }
        if let Some(secret) = &self.secret {
            let stamp = query(request, "timestamp").unwrap_or_default();
            let ms: i64 = stamp.parse().unwrap_or(0);
            if (ms / 1000 - pass.now_seconds).abs() > 3600 {
                return Self::says(310_000, "invalid timestamp");
            }
            let sign = hmac(secret, &format!("{stamp}\n{secret}"));
            if query(request, "sign") != Some(sign) {
                return Self::says(310_000, "sign not match");
            }
        }
        if request.body.len() > 20_000 {
            return Self::says(460_101, "message too long, exceed 20000 bytes");
        }
        let kind = text(body, "/msgtype");
        let content = match kind {
            "text" => text(body, "/text/content").to_owned(),
            "markdown" | "actionCard" => {
                let title = text(body, &format!("/{kind}/title"));
                let content = text(body, &format!("/{kind}/text"));
                if title.is_empty() {
                    return Self::says(40_035, "缺少参数 title");
                }
                content.to_owned()
            }
            _ => return Self::says(400_105, "unsupported msgtype"),
        };
        if content.is_empty() {
            return Self::says(40_035, "缺少参数 text");
        }
        if kind == "actionCard" {
            let single = !text(body, "/actionCard/singleURL").is_empty();
            let buttons = body.pointer("/actionCard/btns").and_then(Value::as_array);
            let whole = |button: &Value| {
                !text(button, "/title").is_empty() && !text(button, "/actionURL").is_empty()
            };
            if !single && !buttons.is_some_and(|all| !all.is_empty() && all.iter().all(whole)) {
                return Self::says(40_035, "缺少参数 btns");
            }
        }
        if let Some(keyword) = &self.keyword
            && !content.contains(keyword.as_str())
        {
            return Self::says(310_000, "keywords not in content");
        }
        if content.contains("unsafe.example") {
            return Self::says(430_101, "unsafe link");
        }
        let everybody = body.pointer("/at/isAtAll") == Some(&Value::Bool(true));
        let called = texts(body, "/at/atMobiles")
            .chain(texts(body, "/at/atUserIds"))
            .chain(everybody.then_some("all"));
        if !pass.may_call(called) {
            return forbidden_mention();
        }
        if self.blocked_until.is_some_and(|until| pass.now < until) {
            return Self::too_fast();
        }
        if !pass.in_time() {
            self.blocked_until = Some(pass.now + Duration::from_mins(10));
            return Self::too_fast();
        }
        Said::Taken(answer(200, &json!({ "errcode": 0, "errmsg": "ok" })))
    }
}

struct Feishu {
    token: String,
    secret: Option<String>,
    keyword: Option<String>,
}

impl Feishu {
    fn says(status: u16, code: i64, words: &str) -> Said {
        refuse(
            status,
            code,
            &json!({ "code": code, "data": {}, "msg": words }),
        )
    }

    /// As much of a card's form as Feishu insists on.
    fn is_card(body: &Value) -> bool {
        let elements = body.pointer("/card/elements").and_then(Value::as_array);
        !text(body, "/card/header/title/content").is_empty()
            && elements.is_some_and(|elements| {
                !elements.is_empty()
                    && elements.iter().all(|element| match text(element, "/tag") {
                        "div" => {
                            !text(element, "/text/content").is_empty()
                                || element["fields"].as_array().is_some_and(|all| {
                                    all.iter().all(|field| field["text"]["content"].is_string())
                                })
                        }
                        "note" => element["elements"].is_array(),
                        "action" => element["actions"].as_array().is_some_and(|all| {
                            all.iter()
                                .all(|button| text(button, "/url").starts_with("http"))
                        }),
                        "hr" | "markdown" => true,
                        _ => false,
                    })
            })
    }
}

impl Service for Feishu {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        if path(request) != format!("/open-apis/bot/v2/hook/{}", self.token) {
            return Self::says(
                200,
                19_001,
                "param invalid: incoming webhook access token invalid",
            );
        }
        if request.method != Method::POST
            || !is_json(request)
            || !body.is_object()
            || request.body.len() > 20 * 1024
        {
            return Self::says(400, 9499, "Bad Request");
        }
        if let Some(secret) = &self.secret {
            let stamp = text(body, "/timestamp");
            let seconds: i64 = stamp.parse().unwrap_or(0);
            if (seconds - pass.now_seconds).abs() > 3600
                || text(body, "/sign") != hmac(&format!("{stamp}\n{secret}"), "")
            {
                return Self::says(
                    200,
                    19_021,
                    "sign match fail or timestamp is not within one hour from current time",
                );
            }
        }
        let mut called = Vec::new();
        match text(body, "/msg_type") {
            "text" if !text(body, "/content/text").is_empty() => {
                called = between(text(body, "/content/text"), "<at user_id=\"", "\"");
            }
            "post" => {
                let post = body.pointer("/content/post").and_then(Value::as_object);
                let Some(one) = post.and_then(|post| post.values().next()) else {
                    return Self::says(200, 19_002, "params error, msg_type need");
                };
                if !one["content"].is_array() {
                    return Self::says(200, 19_002, "params error, post content need");
                }
                all_texts(one, "user_id", &mut called);
            }
            "interactive" => {
                if !Self::is_card(body) {
                    return Self::says(200, 11_246, "card content is not accepted");
                }
                let mut marked = Vec::new();
                lark_md(body, &mut marked);
                for text in marked {
                    called.extend(between(text, "<at id=", ">"));
                }
            }
            _ => return Self::says(200, 19_002, "params error, msg_type need"),
        }
        if let Some(keyword) = &self.keyword
            && !body.to_string().contains(keyword.as_str())
        {
            return Self::says(200, 19_024, "Key Words Not Found");
        }
        if !pass.may_call(called) {
            return forbidden_mention();
        }
        if !pass.in_time() {
            return Self::says(
                200,
                11_232,
                "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]",
            );
        }
        let body = json!({ "StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success" });
        Said::Taken(answer(200, &body))
    }
}

/// The texts that Feishu parses.
fn lark_md<'b>(value: &'b Value, found: &mut Vec<&'b str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| lark_md(item, found)),
        Value::Object(members) => {
            if matches!(text(value, "/tag"), "lark_md" | "markdown") {
                found.push(text(value, "/content"));
            }
            members.values().for_each(|member| lark_md(member, found));
        }
        _ => {}
    }
}

struct Teams {
    path: &'static str,
}

impl Service for Teams {
    fn answer(&mut self, request: &Received, body: &Value, pass: &mut Pass) -> Said {
        let says = |status: u16, code: &str| {
            let body = json!({ "error": { "code": code, "message": code } });
            Said::Refused(status.to_string(), answer(status, &body))
        };
        if request.path != self.path {
            return says(404, "WorkflowNotFound");
        }
        if request.body.len() > 28 * 1024 {
            return says(413, "RequestEntityTooLarge");
        }
        let card = &body["attachments"][0];
        let is_card = is_json(request)
            && body["type"] == "message"
            && card["contentType"] == "application/vnd.microsoft.card.adaptive"
            && card["content"]["type"] == "AdaptiveCard"
            && card["content"]["version"].is_string()
            && card["content"]["body"]
                .as_array()
                .is_some_and(|body| !body.is_empty());
        if !is_card {
            return says(400, "InvalidCard");
        }
        let mut blocks = Vec::new();
        text_blocks(&card["content"], &mut blocks);
        let called = blocks
            .iter()
            .flat_map(|text| between(text, "<at>", "</at>"));
        if !pass.may_call(called) {
            return forbidden_mention();
        }
        if !pass.in_time() {
            let reply = Reply::retry_after(429, 1);
            return Said::Refused("429".to_owned(), reply);
        }
        Said::Taken(Reply::status(202))
    }
}

/// The texts that Teams parses.
fn text_blocks<'b>(value: &'b Value, found: &mut Vec<&'b str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| text_blocks(item, found)),
        Value::Object(members) => {
            if text(value, "/type") == "TextBlock" {
                found.push(text(value, "/text"));
            }
            members
                .values()
                .for_each(|member| text_blocks(member, found));
        }
        _ => {}
    }
}
