"""The benchmark's models in PyTorch, with the same shapes, losses and optimisers: the peer of bench/run.sh.

Usage: peer_torch.py MODEL SECONDS DATA [KEY=VALUE …]. DATA as dlrun bench --data takes it ("": made-up inputs). Prints one JSON object
with the median, p10 and p90 of a training step.
"""
import gzip
import json
import math
import statistics
import struct
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = nn.Linear(1024, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, image, label):
        h = F.relu(self.conv1(image))
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)
        h = F.dropout(F.relu(self.fc1(h.flatten(1))), 0.25)
        return F.cross_entropy(self.fc2(h), label)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense, self.dense_1 = nn.Linear(30, 10), nn.Linear(10, 1)

    def forward(self, x, y):
        return F.binary_cross_entropy(torch.sigmoid(self.dense_1(F.relu(self.dense(x)))), y)


class Sequential(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1))

    def forward(self, x, y):
        return F.mse_loss(self.layers(x), y)


class CharLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.lstm = nn.Embedding(256, 256), nn.LSTM(256, 256, 2, batch_first=True)
        self.head = nn.Linear(256, 256)

    def forward(self, tokens, targets):
        logits = self.head(self.lstm(self.embed(tokens))[0])
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Heat(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [2, 64, 64, 64, 64]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.out = nn.Linear(64, 1)

    def net(self, x, t):
        h = torch.cat([x, t], 1)
        for layer in self.hidden:
            h = torch.tanh(layer(h))
        return x * (1 - x) * self.out(h)

    def forward(self, x, t, x0):
        x, t = x.detach().requires_grad_(), t.detach().requires_grad_()
        u = self.net(x, t)
        u_x, u_t = torch.autograd.grad(u.sum(), (x, t), create_graph=True)
        (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
        start = self.net(x0, torch.zeros_like(x0))
        return ((u_t - 0.1 * u_xx) ** 2).mean() + ((start - torch.sin(math.pi * x0)) ** 2).mean()


class DoubleConv(nn.Sequential):
    def __init__(self, a, b):
        super().__init__(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU(),
                         nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU())


class Level(nn.Module):
    def __init__(self, inputs, channels, below):
        super().__init__()
        self.down = DoubleConv(inputs, channels)
        self.inner = Level(channels, 2 * channels, below - 1) if below else None
        if below:
            self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
            self.merge = DoubleConv(2 * channels, channels)

    def forward(self, x):
        x = self.down(x)
        if self.inner is not None:
            x = self.merge(torch.cat([x, self.up(self.inner(F.max_pool2d(x, 2)))], 1))
        return x


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.u, self.head = Level(1, 32, 3), nn.Conv2d(32, 1, 1)

    def forward(self, noisy, clean):
        return (noisy + self.head(self.u(noisy)) - clean).abs().mean()


class BasicBlock(nn.Module):
    def __init__(self, a, b, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.downsample = None
        if stride != 1 or a != b:
            self.downsample = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class Resnet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        blocks, width = [], 64
        for stage in range(4):
            for i in range(2):
                blocks.append(BasicBlock(width, 64 * 2**stage, 2 if stage and not i else 1))
                width = 64 * 2**stage
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(512, 1000)

    def forward(self, image, label):
        logits = self.fc(self.blocks(self.stem(image)).mean((2, 3)))
        return F.cross_entropy(logits, label, label_smoothing=0.1)


class Bottleneck(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv3, self.bn3 = nn.Conv2d(b, 4 * b, 1, bias=False), nn.BatchNorm2d(4 * b)
        self.downsample = None
        if stride != 1 or a != 4 * b:
            self.downsample = nn.Sequential(nn.Conv2d(a, 4 * b, 1, stride, bias=False), nn.BatchNorm2d(4 * b))

    def forward(self, x):
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if self.downsample else x))


class Resnet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                                  nn.MaxPool2d(3, 2, 1))
        blocks, width = [], 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            for i in range(depth):
                blocks.append(Bottleneck(width, 64 * 2**stage, 2 if stage and not i else 1))
                width = 256 * 2**stage
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(2048, 1000)

    def forward(self, image, label):
        logits = self.fc(self.blocks(self.stem(image)).mean((2, 3)))
        return F.cross_entropy(logits, label, label_smoothing=0.1)


class Fashion(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.fc1, self.fc2 = nn.Linear(32 * 49, 128), nn.Linear(128, 10)

    def forward(self, image, label):
        x = (image.float() / 255 - 0.286) / 0.353
        h = F.max_pool2d(F.relu(self.norm1(self.conv1(x[:, None]))), 2)
        h = F.max_pool2d(F.relu(self.norm2(self.conv2(h))), 2)
        h = F.dropout(F.relu(self.fc1(h.flatten(1))), 0.3)
        return F.cross_entropy(self.fc2(h), label)


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.m_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.m_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, vocab, context, layers, heads, width):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.h = nn.Sequential(*(GptBlock(width, heads) for _ in range(layers)))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        logits = self.ln_f(self.h(x)) @ self.wte.weight.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def build(name, options):
    """(module, inputs, optimiser, clip norm or None) for a model at its benchmark shapes."""
    b = options.get("B")
    if name == "digits":
        b = b or 64
        data = (torch.rand(b, 1, 8, 8), torch.randint(10, (b,)))
        return Digits(), data, lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.01), None
    if name == "tf_example":
        b = b or 32
        return Classifier(), (torch.randn(b, 30), torch.rand(b, 1).round()), torch.optim.Adam, None
    if name == "torch_example":
        b = b or 32
        return Sequential(), (torch.randn(b, 10), torch.randn(b, 1)), lambda p: torch.optim.SGD(p, 0.01), None
    if name == "char_lstm":
        b, t = b or 32, options.get("T", 128)
        data = torch.randint(256, (b, t)), torch.randint(256, (b, t))
        return CharLstm(), data, lambda p: torch.optim.Adam(p, 2e-3), 1.0
    if name == "heat_pinn":
        n = options.get("N", 1024)
        return Heat(), tuple(torch.rand(n, 1) for _ in range(3)), lambda p: torch.optim.Adam(p, 1e-3), None
    if name == "unet":
        b, h = b or 8, options.get("H", 64)
        return Unet(), (torch.rand(b, 1, h, h), torch.rand(b, 1, h, h)), torch.optim.AdamW, None
    if name in ("resnet18", "resnet50"):
        b = b or 8
        data = torch.rand(b, 3, 224, 224), torch.randint(1000, (b,))
        return (Resnet18() if name == "resnet18" else Resnet50()), data, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-4), None
    if name == "fashion":
        b = b or 128
        data = torch.randint(256, (b, 28, 28), dtype=torch.uint8), torch.randint(10, (b,))
        return Fashion(), data, lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.01), None
    if name == "gpt2":
        b, t = b or 8, options.get("T", 128)
        sizes = {"vocab": 256, "context": 256, "layers": 4, "heads": 4, "width": 128}
        sizes = {key: options.get(key, value) for key, value in sizes.items()}
        data = tuple(torch.randint(sizes["vocab"], (b, t)) for _ in range(2))
        return Gpt2(**sizes), data, lambda p: torch.optim.AdamW(p, 6e-4, (0.9, 0.95), weight_decay=0.1), 1.0
    raise SystemExit(f"unknown model {name}")


def idx(path, count):
    with gzip.open(path) as file:
        rank = struct.unpack(">I", file.read(4))[0] & 255
        sizes = struct.unpack(f">{rank}I", file.read(4 * rank))
        return torch.frombuffer(bytearray(file.read(count * math.prod(sizes[1:]))), dtype=torch.uint8).view(count, *sizes[1:])


def rows_of(name, data, made):
    """The first rows of the data, in the shapes and types of the made-up inputs."""
    if name == "digits":
        import numpy
        with numpy.load(data) as arrays:
            rows = arrays["image"], arrays["label"]
        return tuple(torch.from_numpy(row[: len(like)]).to(like.dtype).view_as(like) for row, like in zip(rows, made))
    if name == "fashion":
        files = dict(part.split("=") for part in data.split(","))
        return tuple(idx(files[key], len(like)).to(like.dtype) for key, like in zip(("image", "label"), made))
    window, n = made[0].shape[1], made[0].numel()
    text = torch.frombuffer(bytearray(open(data, "rb").read(n + 1)), dtype=torch.uint8).long()
    return text[:n].view(-1, window), text[1:].view(-1, window)


def main():
    name, seconds, rows = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    options = {key: int(value) for key, value in (item.split("=") for item in sys.argv[4:])}
    torch.manual_seed(0)
    module, data, optimizer, clip = build(name, options)
    data = rows_of(name, rows, data) if rows else data
    optimizer = optimizer(module.parameters())

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = module(*data)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        return loss.item()

    for _ in range(3):
        step()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    deciles = statistics.quantiles(times, n=10)
    print(json.dumps({"peer": f"torch {torch.__version__}", "repeats": len(times), "median_s": statistics.median(times),
                      "p10_s": deciles[0], "p90_s": deciles[8], "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
