use serde_json::json;

use super::*;

const FIRST: &str = r#"def dw_process (msg):
    result = '''<font color="warning"> 收到告警信息，请及时处理 </font>\n
    > 实例 ID:<font color="comment">''' + msg.vars.get ('body').get ('subject') + '''</font>
    > 地域:<font color="comment">''' + msg.vars.get ('body').get ('region') + '''</font>
    > 事件名称:<font color="comment">''' + msg.vars.get ('body').get ('type') + '''</font>'''
    return result;
"#;

const SECOND: &str = r#"def dw_process(msg):
    result = '''<font color=\"warning\">收到告警信息，请及时处理</font>\n
         >实例ID:<font color=\"comment\">''' + msg.vars.get('body').get('subject') + '''</font>
         >地域:<font color=\"comment\">''' + msg.vars.get('body').get('region') + '''</font>
         >事件名称:<font color=\"comment\">''' + msg.vars.get('body').get('type')  + '''</font>'''
    return result;
"#;

fn context() -> String {
    json!({
        "payload": {
            "id": "e-1", "subject": "ins-sjksjk", "region": "ap-guangzhou",
            "type": "cvm:ErrorEvent:ping_unreachable", "time": 1_700_000_000_123_i64,
            "data": {"load": 1.5, "n": 3, "gone": null, "ips": ["10.0.0.5", "10.0.0.6"]},
        },
        "attrs": {"bus": "default", "rule": "r", "target": "t", "attempt": 1},
        "id": "evt_1", "seq_id": "dlv_1", "error": null, "now_ms": 1_700_000_000_000_i64,
    })
    .to_string()
}

fn script(source: &str) -> Script {
    Script {
        source: source.to_owned(),
        vars: Vec::new(),
    }
}

fn ran(source: &str) -> Result<Ran, Wrong> {
    let ran = Scripts::default().evaluate(&script(source), Some(&context()))?;
    Ok(ran.unwrap())
}

/// The JSON of an expression.
fn value(expression: &str) -> String {
    match ran(&format!(
        "def dw_process(msg):\n    return [{expression}]\n"
    )) {
        Ok(Ran {
            output: Output::Json(text),
            ..
        }) => text[1..text.len() - 1].to_owned(),
        other => panic!("{expression}: {other:?}"),
    }
}

#[test]
fn scripts_of_integration_flows_give_exactly_their_text() {
    let first = "<font color=\"warning\"> 收到告警信息，请及时处理 </font>\n\n    > 实例 ID:<font color=\"comment\">ins-sjksjk</font>\n    > 地域:<font color=\"comment\">ap-guangzhou</font>\n    > 事件名称:<font color=\"comment\">cvm:ErrorEvent:ping_unreachable</font>";
    let second = "<font color=\"warning\">收到告警信息，请及时处理</font>\n\n         >实例ID:<font color=\"comment\">ins-sjksjk</font>\n         >地域:<font color=\"comment\">ap-guangzhou</font>\n         >事件名称:<font color=\"comment\">cvm:ErrorEvent:ping_unreachable</font>";
    for (source, text) in [(FIRST, first), (SECOND, second)] {
        assert_eq!(ran(source).unwrap().output, Output::Text(text.to_owned()));
    }
    for bare in [
        "def dw_process (msg):\n    return\n",
        "   def dw_process(msg):\n\n     return \n",
    ] {
        let bare = bare.strip_prefix("   ").unwrap_or(bare);
        assert_eq!(ran(bare).unwrap().output, Output::Nothing);
    }
}

#[test]
fn the_library_gives_what_python_s_would() {
    for (expression, expected) in [
        (
            "round(2.5), round(3.5), round(2.675, 2), round(7), round(1234.5, -2)",
            "2,4,2.67,7,1200.0",
        ),
        (
            "sum([1, 2, 3]), sum([1, 0.5]), sum([[1], [2]], [])",
            "6,1.5,[1,2]",
        ),
        (
            "pow(2, 10), pow(2, -1), math.pow(2, 0.5) > 1.41",
            "1024,0.5,true",
        ),
        (
            "math.ceil(1.2), math.floor(-1.2), math.fabs(-1), math.sqrt(9), int(math.pi * 100), int(math.e)",
            "2,-2,1.0,3.0,314,2",
        ),
        ("json.loads('{\"a\": [1, null]}')['a']", "[1,null]"),
        (
            "json.dumps({'中': [1, None]}), json.encode({'a': [1]})",
            r#""{\"中\": [1, null]}","{\"a\":[1]}""#,
        ),
        ("json.dumps({'a': 1}, indent=2)", r#""{\n  \"a\": 1\n}""#),
        (
            "time.time(), time.strftime('%F %T', msg.payload['time'], 'Asia/Shanghai')",
            r#"1700000000.0,"2023-11-15 06:13:20""#,
        ),
        (
            "time.strftime('%H:%M', '2026-11-21T10:00:00+08:00'), time.strftime('%H:%M', 1700000000, '+08:00'), time.strftime('%T')",
            r#""02:00","06:13","22:13:20""#,
        ),
        (
            "base64.b64encode('告警'), base64.b64decode('5ZGK6K2m')",
            r#""5ZGK6K2m","告警""#,
        ),
        (
            "hashlib.md5('a'), hashlib.sha1('a')",
            r#""0cc175b9c0f1b6a831c399e269772661","86f7e437faa5a7fce15d1ddcb9eaeaea377667b8""#,
        ),
        (
            "hashlib.sha256('a')",
            r#""ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb""#,
        ),
        (
            "hmac.new('key', 'text', 'md5'), hmac.new('key', 'text', 'sha1')",
            r#""d0ca6177c61c975fd2f8c07d8c6528c6","369e2959eb49450338b212748f77d8ded74847bb""#,
        ),
        (
            "re.match('b+', 'abb') == None, re.search('(b+)(c)?', 'abb').group(), re.search('(b+)(c)?', 'abb').groups()",
            r#"true,"bb",["bb",null]"#,
        ),
        (
            r"re.sub('(\\d+)\\.(\\d+)', r'\2-\1', '10.5 and 7.2'), re.sub('a', 'b', 'aaa', 2)",
            r#""5-10 and 2-7","bba""#,
        ),
        (
            r"dedent('a\n    > b\n      c\n\n    d')",
            r#""a\n> b\n  c\n\nd""#,
        ),
        (
            "random.random() == random.random(), 0 <= random.randint(0, 5), random.choice(['x'])",
            r#"false,true,"x""#,
        ),
        (
            "msg.id, msg.seq_id, msg.error, msg.attrs['rule'], msg.vars['body'] == msg.payload",
            r#""evt_1","dlv_1",null,"r",true"#,
        ),
        (
            "'{}!'.format(msg.id), '%s-%d' % ('a', 1), '{}'.format(2), 'abc'[1:], 'a' in 'abc', 1 / 2",
            r#""evt_1!","a-1","2","bc",true,0.5"#,
        ),
        (
            "msg.payload['data']",
            r#"{"load":1.5,"n":3,"gone":null,"ips":["10.0.0.5","10.0.0.6"]}"#,
        ),
    ] {
        assert_eq!(value(expression), expected, "{expression}");
    }
    assert_eq!(
        value("random.randint(0, 99999)"),
        value("random.randint(0, 99999)")
    );
}

#[test]
fn variables_are_made_in_order_and_seen_by_what_follows() {
    let doubled = "def dw_process(msg):\n    return msg.vars['n'] * 2\n";
    let vars = vec![
        ("n".to_owned(), Variable::Value(json!(21))),
        ("twice".to_owned(), Variable::Script(doubled.to_owned())),
        (
            "body".to_owned(),
            Variable::Script("def dw_process(msg):\n    return msg.payload['data']\n".to_owned()),
        ),
    ];
    let source = "def dw_process(msg):\n    print('twice', msg.vars['twice'])\n    return {'t': msg.vars['twice'], 'n': msg.vars['body']['n']}\n";
    let script = Script {
        source: source.to_owned(),
        vars,
    };
    let ran = Scripts::default()
        .evaluate(&script, Some(&context()))
        .unwrap()
        .unwrap();
    assert_eq!(ran.output, Output::Json(r#"{"t":42,"n":3}"#.to_owned()));
    assert_eq!(ran.printed, "twice 42\n");

    let script = Script {
        source: source.to_owned(),
        vars: vec![(
            "x".to_owned(),
            Variable::Script("def dw_process(msg):\n  return nope".to_owned()),
        )],
    };
    let wrong = Scripts::default().evaluate(&script, None).unwrap_err();
    assert_eq!(
        (wrong.variable.as_deref(), wrong.line, wrong.column),
        (Some("x"), 2, 10)
    );
}

#[test]
fn what_python_has_and_starlark_has_not_is_told_with_its_place() {
    for (body, line, column, hint) in [
        ("return msg.id is None", 2, 19, "x == None"),
        ("return 1 < 2 < 3", 2, 18, "a < b and b < c"),
        ("while True:\n        pass", 2, 5, "for _ in range"),
        ("try:\n        pass", 2, 5, "there is no try"),
        ("import json", 2, 5, "nothing is imported"),
        ("raise 'x'", 2, 5, "fail("),
        ("return 2 ** 3", 2, 14, "pow(a, b)"),
        ("return isinstance(msg.id, dict)", 2, 12, "type(x) =="),
        (
            "return 'a' + msg.payload.get('nope')",
            2,
            12,
            "x.get('k', '-')",
        ),
        ("return msg.payload['nope']", 2, 12, "x.get('k', '-')"),
        (
            "return msg.payload.get('nope').get('x')",
            2,
            12,
            "x.get('k', {})",
        ),
        ("return f'{msg.id}'", 2, 15, "'{}'.format"),
        ("return [c for c in 'abc']", 2, 24, "s.elems()"),
        ("return hashlib.md5('a').hexdigest()", 2, 12, "at once"),
        ("return re.match('a', 'a').group(7)", 2, 12, ""),
        ("return re.search('(', 'a')", 2, 12, ""),
    ] {
        let wrong = ran(&format!("def dw_process(msg):\n    {body}\n")).unwrap_err();
        assert_eq!(
            (wrong.line, wrong.column),
            (line, column),
            "{body}: {wrong:?}"
        );
        let told = wrong.hint.clone().unwrap_or_default();
        assert!(told.contains(hint), "{body}: {wrong:?}");
    }
    let wrong = ran("def process(msg):\n    return 1\n").unwrap_err();
    assert!(wrong.message.contains("dw_process"), "{wrong:?}");
}

#[test]
fn scripts_that_do_too_much_end_with_an_error_that_says_so() {
    for (source, message) in [
        (
            "def dw_process(msg):\n    for i in range(1000000000):\n        x = i\n",
            "steps",
        ),
        (
            "def dw_process(msg):\n    x = []\n    for i in range(1000000):\n        x = x + [i, i]\n",
            "memory",
        ),
        (
            "def f(n):\n    return f(n + 1)\ndef dw_process(msg):\n    return f(0)\n",
            "overflow",
        ),
        (
            "def dw_process(msg):\n    x = [1]\n    for i in range(60):\n        x = [x, x]\n    return x\n",
            "larger than",
        ),
        (
            "def dw_process(msg):\n    return 'x' * 300000\n",
            "larger than",
        ),
        (
            "def dw_process(msg):\n    return dw_process\n",
            "returned a function",
        ),
        (
            "def dw_process(msg):\n    return {'f': dw_process}\n",
            "JSON",
        ),
        (
            "def dw_process(msg):\n    x = []\n    x.append(x)\n    return x\n",
            "JSON",
        ),
        ("def dw_process(msg):\n    return pow(10, 100)\n", "63 bits"),
    ] {
        let wrong = ran(source).unwrap_err();
        assert!(wrong.message.contains(message), "{source}: {wrong:?}");
    }
    let printed =
        ran("def dw_process(msg):\n    for i in range(1000):\n        print('告警' * 10)\n")
            .unwrap();
    assert!(printed.printed.len() <= PRINTED_BYTES_MAX);
}

#[test]
fn a_script_cannot_change_what_the_next_event_gets() {
    let mut scripts = Scripts::default();
    let reads = script(
        "seen = []\ndef dw_process(msg):\n    msg.payload['subject'] = 'x'\n    return len(seen)\n",
    );
    for _ in 0..2 {
        let ran = scripts.evaluate(&reads, Some(&context())).unwrap().unwrap();
        assert_eq!(ran.output, Output::Json("0".to_owned()));
    }
    let remembers = script("seen = []\ndef dw_process(msg):\n    seen.append(1)\n");
    let wrong = scripts.evaluate(&remembers, Some(&context())).unwrap_err();
    assert!(wrong.hint.is_some(), "{wrong:?}");
    assert_eq!(scripts.compiled.len(), 2);
}
