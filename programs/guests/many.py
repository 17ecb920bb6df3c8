"""Threads, processes, shared memory, signals, sockets, asyncio and ctypes; ends with status 9."""
import asyncio, concurrent.futures as cf, ctypes, decimal, hashlib, json, mmap
import multiprocessing as mp
import os, re, signal, socket, struct, subprocess, sys, threading, zlib

def square(x):
    return x * x

async def network():
    async def handle(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async def client(i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"message %d\n" % i)
        return await reader.readline()
    print(await asyncio.gather(*(client(i) for i in range(20))))
    server.close()
    cat = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    print(await cat.communicate(b"async"))

def turns():
    condition, count = threading.Condition(), [0]
    def turn(k):
        for _ in range(200):
            with condition:
                while count[0] % 4 != k:
                    condition.wait()
                count[0] += 1
                condition.notify_all()
    threads = [threading.Thread(target=turn, args=(k,)) for k in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    print(count)

def main():
    print(json.dumps({"a": [1, 2.5, None, "é"]}), re.sub(r"(\w)(\w)", r"\2\1", "hello world"), decimal.Decimal(2).sqrt())
    with cf.ThreadPoolExecutor(8) as pool:
        print(sum(pool.map(square, range(500))))
    with mp.Pool(2) as pool:
        print(sum(pool.map(square, range(100))))
    memory = mmap.mmap(-1, 8192)
    memory[:5] = b"hello"
    pid = os.fork()
    if pid == 0:
        memory[0:1] = b"J"
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), memory[:5])
    got = []
    signal.signal(signal.SIGALRM, lambda number, frame: got.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while not got:
        pass
    print(got, subprocess.run(["sh", "-c", "echo out; exit 4"], capture_output=True))
    asyncio.run(network())
    turns()
    print(hashlib.sha3_256(zlib.compress(b"x" * 100000)).hexdigest(), ctypes.CDLL(None).abs(-7))
    print(struct.pack("<dq", 1.5, -1).hex(), 3 ** 500 % 10 ** 20, sum(1 / i for i in range(1, 5000)))
    a, b = socket.socketpair()
    sys.stdout.flush()
    socket.send_fds(a, [b"f"], [1])
    os.write(socket.recv_fds(b, 9, 1)[1][0], b"through\n")
    sys.exit(9)

if __name__ == "__main__":
    main()
