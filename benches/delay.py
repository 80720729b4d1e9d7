"""A relay on the loopback that holds back every answer: the distance to a HID that is not on this machine."""

import asyncio
import sys


class Answers(asyncio.Protocol):
    """From the server, back to the caller."""

    def __init__(self, caller, seconds):
        self.caller, self.seconds = caller, seconds
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport):
        self.transport = transport
        for data in self.caller.kept:
            transport.write(data)
        self.caller.answers = self

    def data_received(self, data):
        self.loop.call_later(self.seconds, self.caller.transport.write, data)

    def connection_lost(self, _):
        # After what is still held back.
        self.loop.call_later(self.seconds, self.caller.transport.close)


class Requests(asyncio.Protocol):
    """From a caller, at once."""

    def __init__(self, host, port, seconds):
        self.host, self.port, self.seconds = host, port, seconds
        self.kept, self.answers, self.is_over = [], None, False

    def connection_made(self, transport):
        self.transport = transport
        self.task = asyncio.get_running_loop().create_task(self.connect())

    async def connect(self):
        loop = asyncio.get_running_loop()
        answers = lambda: Answers(self, self.seconds)
        await loop.create_connection(answers, self.host, self.port)
        if self.is_over:
            self.answers.transport.close()

    def data_received(self, data):
        if self.answers:
            self.answers.transport.write(data)
        else:
            self.kept.append(data)

    def connection_lost(self, _):
        self.is_over = True
        if self.answers:
            self.answers.transport.close()


async def serve(hid, milliseconds):
    host, port = hid.split(":")
    begin = lambda: Requests(host, int(port), milliseconds / 1000)
    server = await asyncio.get_running_loop().create_server(begin, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve(sys.argv[1], float(sys.argv[2])))
