"""A slow line: relay.py PORT TARGET DELAY RATE, all on this machine.

What arrives at PORT goes on to the port TARGET, and so do the answers. From the end of
the standard input on, they arrive later by DELAY seconds, and each direction of a
connection carries RATE bits a second.
"""

import asyncio
import sys


async def carry(reader, writer, slow, delay, rate):
    clock, queue = asyncio.get_running_loop().time, asyncio.Queue()

    async def deliver():
        while piece := await queue.get():
            arrival, data = piece
            await asyncio.sleep(arrival - clock())
            writer.write(data)
            await writer.drain()
        writer.close()

    delivery, free = asyncio.create_task(deliver()), clock()
    while data := await reader.read(2**14):
        free = max(free, clock()) + slow.is_set() * 8 * len(data) / rate
        queue.put_nowait((free + slow.is_set() * delay, data))
        await asyncio.sleep(free - clock())  # the line takes no more until then
    queue.put_nowait(None)
    await delivery


async def main(port, target, delay, rate):
    slow = asyncio.Event()
    at_end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    at_end.add_done_callback(lambda _: slow.set())

    async def connect(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", target)
        ways = [(reader, there[1]), (there[0], writer)]
        await asyncio.gather(
            *(carry(*way, slow, delay, rate) for way in ways), return_exceptions=True
        )

    async with await asyncio.start_server(connect, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    port, target, delay, rate = sys.argv[1:]
    asyncio.run(main(int(port), int(target), float(delay), float(rate)))
