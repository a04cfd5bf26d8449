use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    done: JoinHandle<usize>,
}

async fn start(limits: ListenLimits, router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let done = tokio::spawn(listen(listener, router, limits, stop.clone()));
    Server {
        address,
        stop,
        done,
    }
}

fn limits() -> ListenLimits {
    ListenLimits {
        connections_max: 100,
        header_timeout: Duration::from_millis(200),
        header_bytes_max: 16 * 1024,
        drain_limit: Duration::from_secs(20),
    }
}

/// Reads until the server closes; fails rather than hangs.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    let ended = tokio::time::timeout(Duration::from_secs(20), read).await;
    assert!(ended.is_ok(), "the server kept the connection open");
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_client_that_drips_headers_is_closed() {
    let server = start(limits(), Router::new().route("/", get(|| async { "ok" }))).await;
    for beginning in [
        "",
        "G",
        "GET / HTTP/1.1\r\nhost: x\r\nslow: ",
        "PRI * HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        rest(&mut stream).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_request() {
    let server = start(limits(), Router::new().route("/", get(|| async { "ok" }))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let text = rest(&mut stream).await;
    assert!(
        text.starts_with("HTTP/1.1 200") && text.ends_with("ok"),
        "{text}"
    );
}

#[tokio::test]
async fn a_request_under_way_finishes_when_the_server_stops() {
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let handler = {
        let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
        move || async move {
            entered.add_permits(1);
            let _room = leave.acquire().await.unwrap();
            "finished"
        }
    };
    let server = start(limits(), Router::new().route("/", post(handler))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    let _under_way = entered.acquire().await.unwrap();
    server.stop.cancel();
    leave.add_permits(1);
    assert!(rest(&mut stream).await.ends_with("finished"));
    assert_eq!(server.done.await.unwrap(), 0);
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "still accepting"
    );
}

#[tokio::test]
async fn what_is_left_after_the_drain_limit_is_cut() {
    let entered = Arc::new(Semaphore::new(0));
    let handler = {
        let entered = Arc::clone(&entered);
        move || async move {
            entered.add_permits(1);
            std::future::pending::<()>().await;
        }
    };
    let limits = ListenLimits {
        drain_limit: Duration::from_millis(50),
        ..limits()
    };
    let server = start(limits, Router::new().route("/", get(handler))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let _under_way = entered.acquire().await.unwrap();
    server.stop.cancel();
    assert_eq!(server.done.await.unwrap(), 1);
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_their_turn() {
    let limits = ListenLimits {
        connections_max: 1,
        header_timeout: Duration::from_secs(20),
        ..limits()
    };
    let server = start(limits, Router::new().route("/", get(|| async { "ok" }))).await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(request).await.unwrap();
    // Not a wait for time to pass: the second gets its answer only once the first has left.
    first.write_all(request).await.unwrap();
    assert!(rest(&mut first).await.ends_with("ok"));
    assert!(rest(&mut second).await.ends_with("ok"));
}
