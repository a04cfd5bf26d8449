//! What no proper client does: slow, huge and broken requests.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use belfry_testkit::Server;
use belfry_testkit::raw::{Raw, exchange, status};
use belfry_tests::{LIMIT, all};

fn head(server: &Server, more: &str) -> String {
    format!(
        "POST /v1/buses/default/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/cloudevents+json\r\n{more}",
        server.admin_key()
    )
}

#[tokio::test]
async fn slow_headers_and_silent_connections_are_closed() -> Result<()> {
    let server = Server::with("server.header_timeout", "1s").start().await?;
    let start = Instant::now();
    let mut silent = Raw::connect(server.address()).await?;
    let mut slow = Raw::connect(server.address()).await?;
    slow.send(head(&server, "x-half-a-header: ")).await?;
    silent.read_to_end(LIMIT).await?;
    slow.read_to_end(LIMIT).await?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(5), "they were held for {took:?}");
    // One byte at a time does not gain time.
    let mut dripping = Raw::connect(server.address()).await?;
    let start = Instant::now();
    let request = head(&server, "x-long: ");
    for byte in request.bytes().chain(std::iter::repeat(b'x')) {
        if dripping.send([byte]).await.is_err() || start.elapsed() > LIMIT {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ensure!(
        start.elapsed() < Duration::from_secs(5),
        "it was held for {:?}",
        start.elapsed()
    );
    server.anon()?.get("/readyz").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_slow_body_is_cut_off() -> Result<()> {
    let server = Server::with("server.body_timeout", "1s").start().await?;
    let start = Instant::now();
    let mut connection = Raw::connect(server.address()).await?;
    connection
        .send(head(
            &server,
            "connection: close\r\ncontent-length: 1000\r\n\r\n{",
        ))
        .await?;
    let answer = connection.read_to_end(LIMIT).await?;
    ensure!(
        start.elapsed() < Duration::from_secs(5),
        "it was held for {:?}",
        start.elapsed()
    );
    ensure!(
        matches!(status(&answer), Some(408) | None),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(all(&server.admin()?, "/v1/events").await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_read() -> Result<()> {
    let server = Server::start().await?;
    // The length alone is reason enough: no byte of the body is sent.
    let request = head(
        &server,
        "connection: close\r\ncontent-length: 1000000000\r\n\r\n",
    );
    let (status, body) = exchange(server.address(), request.as_bytes(), LIMIT).await?;
    assert_eq!(status, 413, "{}", String::from_utf8_lossy(&body));
    // Without a length the stream is capped.
    let mut request = head(
        &server,
        "connection: close\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .into_bytes();
    for _ in 0..100 {
        request.extend(b"10000\r\n");
        request.resize(request.len() + 0x10000, b' ');
        request.extend(b"\r\n");
    }
    let (status, body) = exchange(server.address(), &request, LIMIT).await?;
    assert_eq!(status, 413, "{}", String::from_utf8_lossy(&body));
    // Headers have a bound, too.
    let request = format!(
        "GET /readyz HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let (status, _) = exchange(server.address(), request.as_bytes(), LIMIT).await?;
    assert_eq!(status, 431);
    Ok(())
}

#[tokio::test]
async fn broken_requests_never_get_a_server_error() -> Result<()> {
    // Some of these are no complete request: the server waits for the rest, but not for long.
    let server = Server::with("server.header_timeout", "1s").start().await?;
    let requests: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%00%ff%2e%2e/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /v1/events?limit=%ff&since=\xc3\x28 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"POST /v1/buses/default/events HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/buses/a%2fb/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ];
    for request in requests {
        let mut connection = Raw::connect(server.address()).await?;
        connection.send(request).await?;
        let answer = connection.read_to_end(LIMIT).await?;
        let shown = String::from_utf8_lossy(&answer).into_owned();
        ensure!(
            status(&answer).is_none_or(|status| status < 500),
            "{}: {shown}",
            request.escape_ascii()
        );
    }
    server.anon()?.get("/readyz").await?.expect(200)?;
    Ok(())
}

/// Most clients look for an answer only after they have sent everything; a connection closed before that hid it.
#[tokio::test]
async fn a_client_that_sends_everything_first_still_gets_the_refusal() -> Result<()> {
    let server = Server::start().await?;
    let body = vec![b' '; 8 * 1024 * 1024];
    let headers = [("content-type", "application/json")];
    let answer = server
        .admin()?
        .send(
            http::Method::POST,
            "/v1/buses/default/events",
            &headers,
            body,
        )
        .await?;
    answer.problem(413, "TOO_LARGE")?;
    Ok(())
}
