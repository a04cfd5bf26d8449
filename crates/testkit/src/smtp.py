"""A mail server for tests: aiosmtpd, with recipients that are refused in every way a real server knows.

Its only argument is a JSON object: {"tls": "none" | "starttls" | "tls", "cert": path, "key": path, "user": name,
"password": word, "mechanisms": [names], "size": bytes}. Prints its port, then a JSON object for each thing that happens, one a line.

A recipient's local part says what becomes of it: `refused` and `relay` never, `full` not now, `greylisted` only from
the second time on, `busy` ends the session, `drop` takes the message and breaks the connection off before the answer,
`spam` and `later` refuse the message itself. Everybody else gets it.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

OPTIONS = json.loads(sys.argv[1])


def tell(**event):
    print(json.dumps(event), flush=True)


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login.decode(), data.password.decode()) == (OPTIONS["user"], OPTIONS["password"])
    tell(event="login", mechanism=mechanism, good=good)
    return AuthResult(success=good, handled=False)


class Handler:
    def __init__(self):
        self.seen = set()

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.startswith("forged@"):
            return "553 5.7.1 not your address"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.split("@")[0]
        tell(event="rcpt", address=address)
        if local == "refused":
            return "550 5.1.1 no such user here"
        if local == "relay":
            return "554 5.7.1 relay access denied"
        if local == "full":
            return "452 4.2.2 mailbox full"
        if local == "busy":
            server.transport.write(b"421 4.3.2 too many connections\r\n")
            server.transport.close()
            return "421 4.3.2 too many connections"
        if local == "greylisted" and address not in self.seen:
            self.seen.add(address)
            return "450 4.2.0 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        locals_ = {address.split("@")[0] for address in envelope.rcpt_tos}
        if "spam" in locals_:
            return "554 5.7.1 this looks like spam"
        if "later" in locals_:
            return "451 4.3.0 try again"
        tell(
            event="mail",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            content=envelope.content.decode("utf-8", "replace"),
            tls=session.ssl is not None or OPTIONS["tls"] == "tls",
            peer=session.peer[1],
        )
        if "drop" in locals_:
            server.transport.abort()
        return "250 2.0.0 queued"


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(OPTIONS["cert"], OPTIONS["key"])
    return made


async def main():
    handler = Handler()
    tls = OPTIONS.get("tls", "none")

    def session():
        return SMTP(
            handler,
            hostname="mail.test",
            enable_SMTPUTF8=False,
            data_size_limit=OPTIONS.get("size", 33554432),
            tls_context=context() if tls == "starttls" else None,
            require_starttls=tls == "starttls",
            authenticator=authenticate if "user" in OPTIONS else None,
            auth_required="user" in OPTIONS,
            auth_require_tls=tls == "starttls",
            auth_exclude_mechanism=[
                known for known in ("LOGIN", "PLAIN") if known not in OPTIONS.get("mechanisms", [known])
            ],
        )

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", 0, ssl=context() if tls == "tls" else None
    )
    tell(event="ready", port=server.sockets[0].getsockname()[1])
    # The test that has started it holds the other end of this pipe.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
