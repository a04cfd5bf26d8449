# What a hostile program tries. Each attempt is a function; what it raises is the refusal. Prints {attempt: "done" or why not}.
import ctypes, errno, json, os, resource, signal, socket, subprocess, sys, tempfile, threading

place = json.loads(sys.argv[1])
data, outside, scratch, code, server = (place[key] for key in ("data", "outside", "scratch", "code", "server"))
database, key = f"{data}/belfry.db", f"{data}/belfry.key"
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def read(path):
    with open(path, "rb") as file:
        file.read(64)

def write(path):
    with open(path, "wb") as file:
        file.write(b"x")

def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as one:
        one.connect(address)

def vm_read():
    address = ctypes.create_string_buffer(16)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(address), 16)
    call(310, server, vector, 1, vector, 1, 0)

def resolve():
    assert socket.getaddrinfo("localhost", 80)

def children():
    done = [subprocess.run(["/bin/sh", "-c", "exit 3"]).returncode for _ in range(3)]
    assert done == [3, 3, 3]

def threads():
    all = [threading.Thread(target=lambda: None) for _ in range(4)]
    for one in all: one.start()
    for one in all: one.join()

def scratch_files():
    with tempfile.NamedTemporaryFile(dir=scratch) as file:
        file.write(b"x"); file.flush(); os.fchmod(file.fileno(), 0o700)
        os.mkdir(f"{scratch}/folder"); os.rename(f"{scratch}/folder", f"{scratch}/other"); os.rmdir(f"{scratch}/other")

def forks():
    for _ in range(200):
        if os.fork() == 0:
            os.setsid()
            signal.pause()

attempts = {
    "read the database": lambda: read(database),
    "read the key file": lambda: read(key),
    "read the configuration": lambda: read(f"{outside}/belfry.toml"),
    "read it by way of /proc": lambda: read(f"/proc/self/root{database}"),
    "list the data folder": lambda: os.listdir(data),
    "read the password file": lambda: read("/etc/passwd"),
    "read the server's environment": lambda: read(f"/proc/{server}/environ"),
    "read the server's memory": lambda: open(f"/proc/{server}/mem", "rb").close(),
    "read the server's memory by a call": vm_read,
    "read the server's command line": lambda: read(f"/proc/{server}/cmdline"),
    "list processes": lambda: os.listdir("/proc"),
    "write over the database": lambda: open(database, "r+b").close(),
    "cut the database short": lambda: os.truncate(database, 3),
    "remove the database": lambda: os.unlink(f"{data}/spare.db"),
    "move the database away": lambda: os.rename(f"{data}/spare.db", f"{scratch}/spare.db"),
    "link the database": lambda: os.link(database, f"{scratch}/linked.db"),
    "write outside": lambda: write(f"{outside}/new"),
    "write to its code": lambda: write(f"{code}/new"),
    "make a folder outside": lambda: os.mkdir(f"{outside}/folder"),
    "open up the key file": lambda: os.chmod(key, 0o666),
    "change a mode in its scratch folder": lambda: (write(f"{scratch}/mine"), os.chmod(f"{scratch}/mine", 0o600)),
    "give the key file away": lambda: os.chown(key, os.getuid(), os.getgid()),
    "mark the database": lambda: os.setxattr(database, "user.mark", b"x"),
    "signal the server": lambda: os.kill(server, 0),
    "signal everybody": lambda: os.killpg(os.getpgid(server), 0),
    "trace the server": lambda: call(101, 0x4206, server, 0, 0),
    "limit the server": lambda: resource.prlimit(server, resource.RLIMIT_NOFILE),
    "pin the server": lambda: os.sched_setaffinity(server, os.sched_getaffinity(0)),
    "slow the server down": lambda: os.setpriority(os.PRIO_PROCESS, server, 19),
    "raise its own limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)),
    "mount": lambda: call(165, b"none", scratch.encode(), b"tmpfs", 0, None),
    "make a user namespace": lambda: call(272, 0x10000000),
    "clone into a user namespace": lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "change its root": lambda: os.chroot(scratch),
    "hide from its server": lambda: call(157, 4, 0, 0, 0, 0),
    "use io_uring": lambda: call(425, 1, None),
    "load a program into the kernel": lambda: call(321, 0, None, 0),
    "make a device": lambda: os.mknod(f"{scratch}/device", 0o600 | 0o020000, os.makedev(1, 3)),
    "connect an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + place["abstract"]),
    "connect a socket of another program": lambda: connect(socket.AF_UNIX, f"{outside}/socket"),
    "listen to packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "make a vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "connect by TCP": lambda: connect(socket.AF_INET, ("127.0.0.1", place["port"])),
    "send by UDP": lambda: connect(socket.AF_INET, ("127.0.0.1", 9), socket.SOCK_DGRAM),
    "make a socket of IPv6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    "ask for interfaces": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "resolve a name": resolve,
    "make a pair of sockets": lambda: socket.socketpair(),
    "read its code": lambda: read(f"{code}/index.py"),
    "use its scratch folder": scratch_files,
    "read about itself": lambda: read("/proc/self/status"),
    "throw away": lambda: write("/dev/null"),
    "get random bytes": lambda: read("/dev/urandom"),
    "start children": children,
    "start threads": threads,
    "fork 200 times": forks,
}

answers = {}
for name in place["attempts"] or attempts:
    try:
        attempts[name]()
        answers[name] = "done"
    except BaseException as error:
        number = getattr(error, "errno", None)
        answers[name] = errno.errorcode.get(number, str(number)) if number else repr(error)
    sys.stdout.flush()
print(json.dumps(answers), flush=True)
signal.pause()
