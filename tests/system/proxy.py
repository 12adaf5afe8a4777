#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy before a registry: it counts, delays and slows down what goes through it.

usage: proxy.py --to HOST:PORT --port-file FILE [--count FILE] [--delay SECONDS] [--rate BYTES] [--window BYTES]
  --count   how many bytes went to the registry so far, in decimal, rewritten as it grows
  --delay   between a byte's coming and its going on, each way: half of a round trip
  --rate    bytes a second towards the registry, over all connections
  --window  bytes of a connection that are on the line and not acknowledged, each way
"""
import argparse
import asyncio
import os
import time

PIECE = 64 * 1024
WINDOW = 64 * 1024 * 1024  # more than rate times delay of any line that is tried


class Line:
    """What of one direction is under way."""

    def __init__(self):
        self.used = 0
        self.room = asyncio.Event()

    def acknowledge(self, n):
        self.used -= n
        self.room.set()


class Proxy:
    def __init__(self, options):
        self.host, port = options.to.rsplit(":", 1)
        self.port = int(port)
        self.delay = options.delay
        self.rate = options.rate
        self.window = options.window
        self.count = os.open(options.count, os.O_WRONLY | os.O_CREAT, 0o644) if options.count else None
        self.total = 0
        self.free_at = 0.0

    async def pace(self, n):
        """Waits until the line has room for n bytes more."""
        if not self.rate:
            return
        self.free_at = max(self.free_at, time.monotonic()) + n / self.rate
        await asyncio.sleep(self.free_at - time.monotonic())

    def sent(self, n):
        self.total += n
        if self.count is not None:
            os.pwrite(self.count, b"%020d\n" % self.total, 0)

    async def take(self, reader, queue, line, upwards):
        """Bytes with the time at which they may go on."""
        try:
            while data := await reader.read(PIECE):
                if upwards:
                    await self.pace(len(data))
                while line.used >= self.window:
                    line.room.clear()
                    await line.room.wait()
                line.used += len(data)
                queue.put_nowait((time.monotonic() + self.delay, data))
        except OSError:
            pass
        queue.put_nowait((time.monotonic() + self.delay, b""))

    async def give(self, queue, writer, line, upwards):
        try:
            while True:
                due, data = await queue.get()
                wait = due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not data:
                    break
                writer.write(data)
                if upwards:
                    self.sent(len(data))
                await writer.drain()
                asyncio.get_running_loop().call_later(self.delay, line.acknowledge, len(data))
        except OSError:
            pass
        writer.close()

    async def way(self, reader, writer, upwards):
        queue, line = asyncio.Queue(), Line()
        await asyncio.gather(self.take(reader, queue, line, upwards), self.give(queue, writer, line, upwards))

    async def serve(self, reader, writer):
        if self.delay:
            await asyncio.sleep(2 * self.delay)  # the handshake
        try:
            up_reader, up_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.way(reader, up_writer, True), self.way(up_reader, writer, False))


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True)
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--count")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--window", type=int, default=WINDOW)
    options = parser.parse_args()
    proxy = Proxy(options)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, limit=PIECE)
    with open(options.port_file + ".new", "w", encoding="ascii") as file:
        file.write(f"{server.sockets[0].getsockname()[1]}\n")
    os.rename(options.port_file + ".new", options.port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
