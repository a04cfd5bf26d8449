"""Belfry's side of a Python worker: loads a function's code, then runs one invocation after the other.

The conversation goes over what was descriptor 0, a socket of which nobody else has the other end: a line of JSON each way, an
event behind its line. Threads that an invocation leaves running are not waited for.
"""
import importlib.util
import json
import logging
import os
import sys
import time
import traceback
import types

_WIRE = os.dup(0)
_null = os.open(os.devnull, os.O_RDONLY)
os.dup2(_null, 0)
os.close(_null)
_read = open(_WIRE, "rb", buffering=65536, closefd=False)
_current = "-"


def _send(data):
    view = memoryview(data)
    while view:
        view = view[os.write(_WIRE, view):]


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _json(value):
    # Half of a character outside the basic plane is no text: it becomes a question mark.
    return _encoder.encode(value).encode("utf-8", "replace")


def _told(error):
    trace = error.__traceback__
    # The first frame is this file's.
    if trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    stack = "".join(traceback.format_exception(type(error), error, trace))
    return {"type": type(error).__name__, "message": str(error), "stack": stack.rstrip("\n")}


class _Format(logging.Formatter):
    converter = time.gmtime

    def format(self, record):
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        text = "%s.%03dZ\t%s\t[%s]\t%s" % (at, record.msecs, _current, record.levelname, record.getMessage())
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class _HandlerNotFound(Exception):
    pass


_HandlerNotFound.__name__ = "HandlerNotFound"


def _load(directory, handler):
    name, _, function = handler.rpartition(".")
    at = os.path.join(directory, name)
    path = next((p for p in (at + ".py", os.path.join(at, "__init__.py")) if os.path.isfile(p)), None)
    if path is None:
        raise _HandlerNotFound("there is no file %s.py" % name)
    module_name = name.replace("/", ".")
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    # By its name it may find itself, but no module of the language's own may be hidden.
    sys.modules.setdefault(module_name, module)
    spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise _HandlerNotFound("%s.py has no function %s" % (name, function))
    return found


def _namespace(value):
    if isinstance(value, dict):
        return types.SimpleNamespace(**{key: _namespace(each) for key, each in value.items()})
    return value


def _context(profile, message):
    if profile == "scf":
        return message["context"]
    context = _namespace(message["context"])
    deadline = message["deadlineMs"] / 1000
    context.get_remaining_time_in_millis = lambda: max(0, int((deadline - time.time()) * 1000))
    if profile == "fc":
        context.logger = logging.getLogger()
    return context


def _flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def _leave(exit):
    """A function that ends the process does so at once; what it prints last is not lost."""
    code = exit.code
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    _flush()
    os._exit(code & 0xFF)


def _run(handler, setup, message, raw):
    """The answer's line."""
    head = b'{"type":"error","id":"%s","done":true,' % message["id"].encode()

    def error(kind, error):
        return head + b'"kind":"%s","error":%s}\n' % (kind, _json(_told(error)))

    try:
        event = raw if setup["profile"] == "fc" else json.loads(raw)
        value = handler(event, _context(setup["profile"], message))
    except SystemExit as exit:
        _leave(exit)
    except BaseException as wrong:
        return error(b"exception", wrong)
    if setup["profile"] == "fc" and isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    try:
        text = _json(value)
    except (TypeError, ValueError, RecursionError) as wrong:
        return error(b"not_serializable", wrong)
    except MemoryError as wrong:
        return error(b"exception", wrong)
    if len(text) > setup["answerBytesMax"]:
        wrong = ValueError("the answer has %d bytes, at most %d are taken" % (len(text), setup["answerBytesMax"]))
        return error(b"too_large", wrong)
    return b'{"type":"result","id":"%s","done":true,"value":%s}\n' % (message["id"].encode(), text)


def _main():
    global _current
    setup = json.loads(_read.readline())
    sys.path[0] = setup["dir"]
    handler_of_logs = logging.StreamHandler(sys.stdout)
    handler_of_logs.setFormatter(_Format())
    logging.getLogger().addHandler(handler_of_logs)
    logging.getLogger().setLevel(logging.INFO)
    began = time.perf_counter()
    try:
        handler = _load(setup["dir"], setup["handler"])
    except SystemExit as exit:
        _leave(exit)
    except BaseException as wrong:
        _flush()
        _send(b'{"type":"init_error","error":%s}\n' % _json(_told(wrong)))
        os._exit(1)
    took = int((time.perf_counter() - began) * 1e6)
    _send(_json({"type": "ready", "initUs": took, "version": sys.version.split()[0]}) + b"\n")
    while True:
        line = _read.readline()
        if not line:
            _flush()
            os._exit(0)
        message = json.loads(line)
        raw = _read.read(message["eventBytes"])
        _current = message["id"]
        answer = _run(handler, setup, message, raw)
        _flush()
        _send(answer)
        _current = "-"


_main()
