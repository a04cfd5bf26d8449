//! The life of a server, seen from the other end of a socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

/// Asks for TLS, which the server answers with one byte before anybody has signed on.
fn answers(server: &Postgres) -> bool {
    let ask = || -> std::io::Result<u8> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port()))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
        let mut answer = [0];
        stream.read_exact(&mut answer)?;
        Ok(answer[0])
    };
    matches!(ask(), Ok(b'N' | b'S'))
}

#[test]
fn a_server_answers_after_each_way_of_ending_it_and_leaves_nothing() {
    let mut server = Postgres::start().unwrap();
    assert!(answers(&server), "{}", server.log());
    let (home, port) = (server.home.clone(), server.port());

    server.pause().unwrap();
    assert!(!answers(&server));
    server.resume().unwrap();
    assert!(answers(&server));

    server.kill9().unwrap();
    assert!(!answers(&server));
    assert_eq!(server.postmaster(), None);
    server.start_again().unwrap();
    assert!(answers(&server), "{}", server.log());

    for how in [Stop::Fast, Stop::Immediate] {
        server.restart(how).unwrap();
        assert!(answers(&server), "{}", server.log());
    }
    assert_eq!(server.port(), port);

    let postmaster = server.postmaster().unwrap();
    drop(server);
    assert!(!home.exists());
    assert_eq!(parent(postmaster), None);
}

#[test]
fn a_setting_that_the_server_refuses_is_told_with_what_it_logged() {
    let error = Postgres::start_with(&[("max_connections", "many")]).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("max_connections"), "{text}");
}

#[test]
fn a_paused_server_ends_with_its_watcher() {
    let mut server = Postgres::start().unwrap();
    let home = server.home.clone();
    server.pause().unwrap();
    // As if we had been killed: nobody but the watcher ends the server.
    let mut postmaster = server.process.take().unwrap();
    let waiting = std::thread::spawn(move || postmaster.wait());
    drop(server);
    assert!(!home.exists());
    assert!(waiting.join().unwrap().is_ok());
}
