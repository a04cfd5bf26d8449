//! Section 7.

use belfry_pattern::ErrorCode;

use crate::{error, fits};

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[track_caller]
fn whole(regexp: &str, value: &str) -> bool {
    fits(
        &format!("[{{\"regexp\":{}}}]", quoted(regexp)),
        &quoted(value),
    )
}

#[test]
fn the_whole_string_must_fit() {
    assert!(whole("a|bc", "a") && whole("a|bc", "bc") && !whole("a|bc", "ac"));
    assert!(!whole("b", "abc") && !whole("a|b", "ab"));
    assert!(whole("", "") && !whole("", "x"));
    assert!(whole("a|", "") && whole("|a", "a") && whole("(|b)c", "c") && whole("()", ""));
}

#[test]
fn syntax() {
    assert!(whole("a.c", "a\nc") && whole("a.c", "a日c") && !whole("a.c", "ac"));
    assert!(whole("a?b*c+", "c") && whole("a?b*c+", "abbcc") && !whole("a?b*c+", "ab"));
    assert!(whole("(ab){2}", "abab") && !whole("(ab){2}", "ab"));
    assert!(whole("a{2,}", "aaaa") && !whole("a{2,}", "a"));
    assert!(whole("a{0,2}", "") && !whole("a{1,2}", "aaa") && whole("a{99}", &"a".repeat(99)));
    assert!(whole("[a-c]", "b") && !whole("[a-c]", "d") && whole("[^a-c]", "d"));
    assert!(whole("[-a]", "-") && whole("[a-]", "-") && whole("[-]", "-") && whole("[a^]", "^"));
    assert!(whole("[~]~[~-~~]+", "][-~") && whole("[~--0]", ".") && whole("[.*+?()|$]+", ".*$"));
    assert!(whole("~p{Lu}+", "ÄB") && !whole("~p{Lu}", "a") && whole("~P{Lu}", "a"));
    assert!(whole("[~p{Nd}x]+", "3x٣") && whole("[^~p{L}]", "1") && whole("[~P{L}a]", "a"));
    assert!(whole("~n~r~t", "\n\r\t"));
    assert!(whole("~(~)~*~+~-~.~?~[~\\~]~^~{~|~}~~", "()*+-.?[\\]^{|}~"));
}

#[test]
fn some_signs_stand_for_themselves() {
    assert!(whole("\\d", "\\d") && !whole("\\d", "1"));
    assert!(whole("^a$", "^a$") && !whole("^a$", "a"));
    assert!(whole("a}", "a}") && whole("[\\]", "\\"));
    assert!(whole("a&&b", "a&&b") && whole("[a&&b]", "&") && whole("(a#b )", "a#b "));
}

#[test]
fn errors() {
    for bad in [
        "*a",
        "+a",
        "?",
        "a**",
        "a+?",
        "a{2}{3}",
        "a|*b",
        "(*a)",
        "{2}",
        "a{,3}",
        "a{",
        "a{x}",
        "a{3,2}",
        "a{2",
        "a{100}",
        "a{0,100}",
        "a{1,2,3}",
        "(",
        ")",
        "(a",
        "a)",
        "[",
        "]",
        "[a",
        "a]",
        "[[a]]",
        "[a[b]",
        "[c-a]",
        "[]",
        "[^]",
        "[]a]",
        "~d",
        "~D",
        "~w",
        "~s",
        "~b",
        "~B",
        "~1",
        "(?:a)",
        "(?i)a",
        "(?=a)",
        "[a-z-[aeiou]]",
        "[a-c-e]",
        "[a--]",
        "[~d]",
        "~x",
        "~",
        "~$",
        "~p",
        "~pL",
        "~p{",
        "~p{}",
        "~p{Foo}",
        "~p{Greek}",
        "~p{lu}",
        "~p{Cs}",
        "~p{^L}",
        "[~p{L}-z]",
        "[a-~p{L}]",
    ] {
        let error = error(&format!("{{\"k\":[{{\"regexp\":{}}}]}}", quoted(bad)));
        assert_eq!(error.code, ErrorCode::BadRegexp, "{bad}: {error}");
    }
}

#[test]
fn repeated_categories_cost_nothing_special() {
    assert!(whole("P~p{Nd}{4}Y~p{Nd}{2}M", "P2026Y07M"));
    assert!(!whole("P~p{Nd}{4}Y~p{Nd}{2}M", "P2026Y7M"));
}

#[test]
fn no_backtracking() {
    // Each doubles the work of a backtracking matcher with every character.
    let value = "a".repeat(20_000) + "!";
    assert!(!whole("(a+)+", &value) && !whole("(a|a)*", &value) && !whole("(a*)*b", &value));
}
