#!/usr/bin/env python3
"""Computes tests/std/*.expect: what the library's functions give on the inputs of tests/unit/test_std.c, from
the published formulas (PyTorch's documentation) in plain NumPy loops. Run it in its own folder."""
import math
import numpy as np

B = 3
STEP = 4


def phase(name):
    return sum(name.encode()) % 17


def wave(name, shape):
    n = int(np.prod(shape)) if shape else 1
    w = np.sin(0.37 * np.arange(n) + 1.3 * phase(name) + 0.2)
    return w.reshape(shape)


def value(name, *shape):
    return 0.5 * wave(name, shape)


def positive(name, *shape):
    return 0.6 + 0.3 * wave(name, shape)


def labels(*shape):
    n = int(np.prod(shape))
    return ((np.arange(n) * 7 + 3) % 5).reshape(shape)


class Out:
    def __init__(self, name):
        self.name, self.lines = name, []

    def add(self, kind, name, x):
        flat = np.asarray(x, dtype=float).reshape(-1)
        self.lines.append(" ".join([kind, name] + [repr(float(v)) for v in flat]))

    def save(self):
        with open(self.name + ".expect", "w") as f:
            f.write("\n".join(self.lines) + "\n")


erf = np.vectorize(math.erf)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.log(1 + np.exp(x))


def activations():
    out = Out("activations")
    x = 8 * value("x", B, 8)
    a, b = x[:, :4], x[:, 4:]
    slope = value("p.weight", 1)
    slopes = value("q.weight", 8)
    for name, y in {
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "leaky_relu": np.where(x > 0, x, 0.01 * x),
        "elu": np.where(x > 0, x, np.exp(x) - 1),
        "selu": 1.0507009873554804934193349852946 * np.where(
            x > 0, x, 1.6732632423543772848170429916717 * (np.exp(x) - 1)),
        "celu": np.where(x > 0, x, 2 * (np.exp(x / 2) - 1)),
        "gelu": gelu(x),
        "gelu_tanh": 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "quick_gelu": x * sigmoid(1.702 * x),
        "silu": silu(x),
        "mish": x * np.tanh(softplus(x)),
        "softplus": softplus(2 * x) / 2,
        "softsign": x / (1 + abs(x)),
        "hardsigmoid": np.clip(x + 3, 0, 6) / 6,
        "hardswish": x * np.clip(x + 3, 0, 6) / 6,
        "hardtanh": np.clip(x, -1, 1),
        "hardshrink": np.where(abs(x) > 0.5, x, 0),
        "softshrink": np.sign(x) * np.maximum(abs(x) - 0.5, 0),
        "log_sigmoid": np.log(sigmoid(x)),
        "softmax": softmax(x),
        "log_softmax": np.log(softmax(x, axis=0)),
        "softmin": softmax(-x),
        "glu": a * sigmoid(b),
        "swiglu": silu(a) * b,
        "geglu": gelu(a) * b,
        "prelu": np.where(x > 0, x, slope * x),
        "prelu_channels": np.where(x > 0, x, slopes * x),
    }.items():
        out.add("infer", name, y)
    out.save()


def losses():
    out = Out("losses")
    x, y = 4 * value("x", B, 5), 4 * value("y", B, 5)
    label, w = labels(B), 1 + value("w", 5)
    s = value("s", B)
    logp = np.log(softmax(x))
    q = softmax(y)
    p = sigmoid(x)
    t = sigmoid(y)
    pick = -logp[np.arange(B), label]
    out.add("infer", "cross_entropy", pick.mean())
    out.add("infer", "smoothed", (0.9 * pick - 0.1 * logp.mean(axis=1)).mean())
    keep = label != 3
    out.add("infer", "ignored", pick[keep].mean())
    total = w[label].sum()
    out.add("infer", "weighted", (0.9 * (w[label] * pick).sum() - 0.1 / 5 * (logp * w).sum()) / total)
    out.add("infer", "soft", -(q * logp).sum(axis=1).mean())
    out.add("infer", "nll", pick.mean())
    out.add("infer", "bce", -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())
    out.add("infer", "bce_clamped", 50.0)
    out.add("infer", "bce_logits", -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())
    out.add("infer", "bce_weighted", -(2 * t * np.log(p) + (1 - t) * np.log(1 - p)).mean())
    d = abs(x - y)
    out.add("infer", "mse", (d**2).mean())
    out.add("infer", "l1", d.mean())
    out.add("infer", "huber", np.where(d < 0.7, 0.5 * d * d, 0.7 * (d - 0.35)).mean())
    out.add("infer", "smooth_l1", np.where(d < 0.7, 0.5 * d * d / 0.7, d - 0.35).mean())
    out.add("infer", "log_cosh", np.log(np.cosh(d)).mean())
    out.add("infer", "kl", (q * (np.log(q) - logp)).sum() / B)
    sign = np.where(y > 0, 1.0, -1.0)
    out.add("infer", "hinge", np.maximum(0, 1 - sign * x).mean())
    out.add("infer", "soft_margin", np.log(1 + np.exp(-sign * x)).mean())
    rows = []
    for i in range(B):
        rows.append(sum(max(0, 1 - x[i, label[i]] + x[i, j]) for j in range(5) if j != label[i]) / 5)
    out.add("infer", "multi_margin", np.mean(rows))
    cos = (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
    out.add("infer", "cosine", cos)
    out.add("infer", "cosine_embedding", np.where(s > 0, 1 - cos, np.maximum(0, cos - 0.1)).mean())
    z = 4 * value("z", B, 5)
    near = np.sqrt(((x - y + 1e-6) ** 2).sum(1))
    far = np.sqrt(((x - z + 1e-6) ** 2).sum(1))
    out.add("infer", "triplet", np.maximum(near - far + 1, 0).mean())
    out.add("infer", "ranking", np.maximum(0, -sign * (x - z) + 0.5).mean())
    out.add("infer", "poisson", (np.exp(x) - y * x).mean())
    out.add("infer", "gaussian", (0.5 * (np.log(p) + (x - y) ** 2 / p)).mean())
    hard = np.where(y > 0, 1.0, 0.0)
    ce_hard = -np.log(np.where(hard > 0, p, 1 - p))
    pt = np.where(hard > 0, p, 1 - p)
    at = np.where(hard > 0, 0.25, 0.75)
    out.add("infer", "focal", (at * (1 - pt) ** 2 * ce_hard).mean())
    out.save()


def batch_norm(x, m, v, weight, bias, eps=1e-5):
    shape = [1, -1] + [1] * (x.ndim - 2)
    y = (x - m.reshape(shape)) / np.sqrt(v.reshape(shape) + eps)
    return y * weight.reshape(shape) + bias.reshape(shape)


def norms():
    out = Out("norms")
    x, t = value("x", B, 4, 2, 3), value("t", B, 3, 4)
    w, b = value("bn.weight", 4), value("bn.bias", 4)
    rm, rv = positive("bn.running_mean", 4), positive("bn.running_var", 4)
    out.add("infer", "batch", batch_norm(x, rm, rv, w, b))
    m = x.mean(axis=(0, 2, 3))
    var = ((x - m.reshape(1, 4, 1, 1)) ** 2).mean(axis=(0, 2, 3))
    n = x.size / 4
    out.add("train", "bn.running_mean", 0.9 * rm + 0.1 * m)
    out.add("train", "bn.running_var", 0.9 * rv + 0.1 * var * n / (n - 1))
    y = batch_norm(x, m, var, w, b)
    # The loss is sum(y * x): its derivative in the bias is sum(x), in the weight sum(x * normalised).
    xhat = batch_norm(x, m, var, np.ones(4), np.zeros(4))
    out.add("train", "loss", (y * x).sum())
    out.add("train", "bn.bias", b - x.sum(axis=(0, 2, 3)))
    out.add("train", "bn.weight", w - (xhat * x).sum(axis=(0, 2, 3)))
    g = x.reshape(B, 2, -1)
    g = (g - g.mean(2, keepdims=True)) / np.sqrt(g.var(2, keepdims=True) + 1e-5)
    w, b = value("gn.weight", 4).reshape(1, 4, 1, 1), value("gn.bias", 4).reshape(1, 4, 1, 1)
    out.add("infer", "group", g.reshape(x.shape) * w + b)
    i = x.reshape(B, 4, -1)
    i = (i - i.mean(2, keepdims=True)) / np.sqrt(i.var(2, keepdims=True) + 1e-5)
    out.add("infer", "instance", i)
    ln = (t - t.mean(-1, keepdims=True)) / np.sqrt(t.var(-1, keepdims=True) + 1e-5)
    out.add("infer", "layer", ln * value("ln.weight", 4) + value("ln.bias", 4))
    rms = t / np.sqrt((t * t).mean(-1, keepdims=True) + 1e-6)
    out.add("infer", "rms", rms * value("rn.weight", 4))
    out.add("infer", "normalized", t / np.sqrt((t * t).sum(-1, keepdims=True)))
    out.save()


def conv(x, w, stride, padding, dilation, groups):
    """x [N, C, spatial...], w [O, C/groups, k...]: sums over every tap, as the definition says."""
    rank = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(p, p) for p in padding])
    k = w.shape[2:]
    size = [(x.shape[2 + a] - dilation[a] * (k[a] - 1) - 1) // stride[a] + 1 for a in range(rank)]
    y = np.zeros([x.shape[0], w.shape[0]] + size)
    per_out, per_in = w.shape[0] // groups, w.shape[1]
    for o in range(w.shape[0]):
        first = (o // per_out) * per_in
        for at in np.ndindex(*size):
            for tap in np.ndindex(*k):
                where = tuple(at[a] * stride[a] + tap[a] * dilation[a] for a in range(rank))
                for c in range(per_in):
                    y[(slice(None), o) + at] += x[(slice(None), first + c) + where] * w[(o, c) + tap]
    return y


def conv_transpose(x, w, stride, padding, output_padding, dilation, groups):
    rank = x.ndim - 2
    k = w.shape[2:]
    size = [(x.shape[2 + a] - 1) * stride[a] + dilation[a] * (k[a] - 1) + 1 + output_padding[a]
            for a in range(rank)]
    per_out, per_in = w.shape[1], x.shape[1] // groups
    y = np.zeros([x.shape[0], per_out * groups] + size)
    for c in range(x.shape[1]):
        first = (c // per_in) * per_out
        for at in np.ndindex(*x.shape[2:]):
            for tap in np.ndindex(*k):
                where = tuple(at[a] * stride[a] + tap[a] * dilation[a] for a in range(rank))
                for o in range(per_out):
                    y[(slice(None), first + o) + where] += x[(slice(None), c) + at] * w[(c, o) + tap]
    cut = tuple(slice(p, s - p) for p, s in zip(padding, size))
    return y[(slice(None), slice(None)) + cut]


def bias(name, channels, rank):
    return value(name, channels).reshape([1, channels] + [1] * rank)


def convolutions():
    out = Out("convolutions")
    x, t, v = value("x", B, 4, 5, 6), value("t", B, 4, 7), value("v", B, 2, 3, 4, 3)
    w = value("c1.weight", 6, 4, 3, 2)
    out.add("infer", "plain", conv(x, w, (2, 1), (1, 0), (1, 2), 1) + bias("c1.bias", 6, 2))
    w = value("c2.weight", 6, 2, 3, 3)
    out.add("infer", "grouped", conv(x, w, (1, 1), (1, 1), (1, 1), 2))
    w = value("dw.weight", 8, 1, 3, 3)
    out.add("infer", "depthwise", conv(x, w, (1, 1), (1, 1), (1, 1), 4) + bias("dw.bias", 8, 2))
    w = value("d1.weight", 3, 4, 3)
    out.add("infer", "line", conv(t, w, (1,), (2,), (2,), 1) + bias("d1.bias", 3, 1))
    w = value("d3.weight", 3, 2, 2, 2, 2)
    out.add("infer", "volume", conv(v, w, (1, 1, 1), (1, 1, 1), (1, 1, 1), 1) + bias("d3.bias", 3, 3))
    w = value("ct.weight", 4, 3, 3, 3)
    out.add("infer", "transposed",
            conv_transpose(x, w, (2, 2), (1, 1), (1, 0), (1, 1), 1) + bias("ct.bias", 3, 2))
    w = value("cg.weight", 4, 2, 4)
    out.add("infer", "transposed_line",
            conv_transpose(t, w, (2,), (1,), (0,), (1,), 2) + bias("cg.bias", 4, 1))
    # The derivative of sum(y * r) in the weight of the plain convolution, by finite differences of a
    # linear function: exact.
    r = value("r", B, 6, 3, 4)
    w = value("c1.weight", 6, 4, 3, 2)
    g = np.zeros_like(w)
    for i in np.ndindex(*w.shape):
        one = np.zeros_like(w)
        one[i] = 1
        g[i] = (conv(x, one, (2, 1), (1, 0), (1, 2), 1) * r).sum()
    out.add("train", "c1.weight", w - g)
    out.add("train", "c1.bias", value("c1.bias", 6) - r.sum(axis=(0, 2, 3)))
    out.save()


def windows(x, k, s, p, fill):
    x = np.pad(x, [(0, 0), (0, 0)] + [(q, q) for q in p], constant_values=fill)
    size = [(x.shape[2 + a] - k[a]) // s[a] + 1 for a in range(len(k))]
    y = np.zeros(list(x.shape[:2]) + size + [int(np.prod(k))])
    for at in np.ndindex(*size):
        for n, tap in enumerate(np.ndindex(*k)):
            where = tuple(at[a] * s[a] + tap[a] for a in range(len(k)))
            y[(slice(None), slice(None)) + at + (n,)] = x[(slice(None), slice(None)) + where]
    return y


def pooling():
    out = Out("pooling")
    x, t = value("x", B, 4, 6, 4), value("t", B, 2, 7)
    out.add("infer", "max2", windows(x, (3, 2), (2, 1), (1, 0), -np.inf).max(-1))
    out.add("infer", "max1", windows(t, (3,), (3,), (1,), -np.inf).max(-1))
    out.add("infer", "avg2", windows(x, (3, 3), (2, 2), (1, 1), 0).mean(-1))
    ones = windows(np.ones_like(x), (3, 3), (2, 2), (1, 1), 0).sum(-1)
    out.add("infer", "avg2_inner", windows(x, (3, 3), (2, 2), (1, 1), 0).sum(-1) / ones)
    out.add("infer", "avg1", windows(t, (2,), (2,), (0,), 0).mean(-1))
    out.add("infer", "adaptive", x.reshape(B, 4, 3, 2, 2, 2).mean(axis=(3, 5)))
    out.add("infer", "global_avg", x.mean(axis=(2, 3)))
    out.add("infer", "global_max", x.max(axis=(2, 3)))
    out.add("infer", "nearest", x.repeat(2, axis=2).repeat(2, axis=3))
    y = np.zeros((B, 1, 12, 8))
    for i, j in np.ndindex(2, 2):
        y[:, 0, i::2, j::2] = x[:, 2 * i + j]
    out.add("infer", "shuffled", y)
    out.add("infer", "back", x)

    def line(n, scale):
        m = np.zeros((n * scale, n))
        for i in range(n * scale):
            at = min(max((i + 0.5) / scale - 0.5, 0), n - 1)
            low = int(at)
            high = min(low + 1, n - 1)
            m[i, low] += 1 - (at - low)
            m[i, high] += at - low
        return m
    out.add("infer", "bilinear", np.einsum("yi,xj,bcij->bcyx", line(6, 2), line(4, 2), x))
    out.save()


def lstm_pass(x, path, suffix, n, h, c):
    i = x.shape[2]
    wi, wh = value(f"{path}.weight_ih_{suffix}", 4 * n, i), value(f"{path}.weight_hh_{suffix}", 4 * n, n)
    b = value(f"{path}.bias_ih_{suffix}", 4 * n) + value(f"{path}.bias_hh_{suffix}", 4 * n)
    ys = []
    for t in range(x.shape[1]):
        a = x[:, t] @ wi.T + h @ wh.T + b
        gi, gf, gg, go = np.split(a, 4, axis=1)
        c = sigmoid(gf) * c + sigmoid(gi) * np.tanh(gg)
        h = sigmoid(go) * np.tanh(c)
        ys.append(h)
    return np.stack(ys, axis=1), h, c


def gru_pass(x, path, suffix, n, h):
    i = x.shape[2]
    wi, wh = value(f"{path}.weight_ih_{suffix}", 3 * n, i), value(f"{path}.weight_hh_{suffix}", 3 * n, n)
    bi, bh = value(f"{path}.bias_ih_{suffix}", 3 * n), value(f"{path}.bias_hh_{suffix}", 3 * n)
    ys = []
    for t in range(x.shape[1]):
        xr, xz, xn = np.split(x[:, t] @ wi.T + bi, 3, axis=1)
        hr, hz, hn = np.split(h @ wh.T + bh, 3, axis=1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        new = np.tanh(xn + r * hn)
        h = (1 - z) * new + z * h
        ys.append(h)
    return np.stack(ys, axis=1), h


def rnn_pass(x, path, suffix, n, act):
    wi, wh = value(f"{path}.weight_ih_{suffix}", n, x.shape[2]), value(f"{path}.weight_hh_{suffix}", n, n)
    b = value(f"{path}.bias_ih_{suffix}", n) + value(f"{path}.bias_hh_{suffix}", n)
    h, ys = np.zeros((x.shape[0], n)), []
    for t in range(x.shape[1]):
        h = act(x[:, t] @ wi.T + h @ wh.T + b)
        ys.append(h)
    return np.stack(ys, axis=1)


def recurrent():
    out = Out("recurrent")
    x = value("x", B, 4, 2)
    zero = np.zeros((B, 3))
    y = x
    for layer in range(2):
        a = lstm_pass(y, "l", f"l{layer}", 3, zero, zero)[0]
        b = lstm_pass(y[:, ::-1], "l", f"l{layer}_reverse", 3, zero, zero)[0][:, ::-1]
        y = np.concatenate([a, b], axis=2)
    out.add("infer", "lstm", y)
    a = gru_pass(x, "g", "l0", 3, zero)[0]
    b = gru_pass(x[:, ::-1], "g", "l0_reverse", 3, zero)[0][:, ::-1]
    out.add("infer", "gru", np.concatenate([a, b], axis=2))
    y = rnn_pass(rnn_pass(x, "r", "l0", 3, np.tanh), "r", "l1", 3, np.tanh)
    out.add("infer", "rnn", y)
    h0, c0 = value("h0", B, 3), value("c0", B, 3)
    y, h, c = lstm_pass(x, "lf", "l0", 3, h0, c0)
    out.add("infer", "lstm_h", h)
    out.add("infer", "lstm_c", c)
    out.add("infer", "gru_h", gru_pass(x, "gf", "l0", 3, h0)[1])
    out.save()


def attend(q, k, v, heads, mask):
    b, t, c = q.shape
    d = c // heads
    y = np.zeros_like(q)
    for n in range(b):
        for h in range(heads):
            cut = slice(h * d, (h + 1) * d)
            score = q[n][:, cut] @ k[n][:, cut].T / math.sqrt(d)
            if mask is not None:
                score = np.where(mask[n], score, -np.inf)
            y[n][:, cut] = softmax(score) @ v[n][:, cut]
    return y


def mha(path, x, memory, heads, mask=None):
    c = x.shape[2]
    w, b = value(path + ".in_proj_weight", 3 * c, c), value(path + ".in_proj_bias", 3 * c)
    q = x @ w[:c].T + b[:c]
    k = memory @ w[c:2 * c].T + b[c:2 * c]
    v = memory @ w[2 * c:].T + b[2 * c:]
    y = attend(q, k, v, heads, mask)
    return y @ value(path + ".out_proj.weight", c, c).T + value(path + ".out_proj.bias", c)


def layer_norm(path, x):
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return y * value(path + ".weight", x.shape[-1]) + value(path + ".bias", x.shape[-1])


def linear(path, x, n):
    return x @ value(path + ".weight", n, x.shape[-1]).T + value(path + ".bias", n)


def attention():
    out = Out("attention")
    x, m = value("x", B, 5, 4), value("m", B, 2, 4)
    causal = np.broadcast_to(np.tril(np.ones((5, 5), bool)), (B, 5, 5))
    out.add("infer", "self", mha("a", x, x, 2))
    out.add("infer", "causal", mha("b", x, x, 2, causal))
    out.add("infer", "cross", mha("c", x, m, 2))
    ok = (np.arange(B * 5) % 3 != 0).reshape(B, 1, 5).repeat(5, axis=1)
    out.add("infer", "masked", mha("k", x, x, 2, ok))
    y = layer_norm("e.norm1", x + mha("e.self_attn", x, x, 2))
    h = linear("e.linear2", np.maximum(linear("e.linear1", y, 6), 0), 4)
    out.add("infer", "encoder", layer_norm("e.norm2", y + h))
    z = layer_norm("f.norm1", x)
    y = x + mha("f.self_attn", z, z, 2)
    h = linear("f.linear2", gelu(linear("f.linear1", layer_norm("f.norm2", y), 6)), 4)
    out.add("infer", "encoder_first", y + h)
    out.add("infer", "padded", mha("n", x, x, 2, ok))
    out.add("infer", "added", mha("o", x, x, 2, ok))
    q, k, v = x @ value("w.q_proj_weight", 4, 4).T, np.concatenate([m, m], 2) @ value("w.k_proj_weight", 4, 8).T, m @ value("w.v_proj_weight", 4, 4).T
    b = value("w.in_proj_bias", 12)
    y = attend(q + b[:4], k + b[4:8], v + b[8:], 2, None)
    out.add("infer", "wide", y @ value("w.out_proj.weight", 4, 4).T + value("w.out_proj.bias", 4))
    y = layer_norm("d.norm1", x + mha("d.self_attn", x, x, 2))
    y = layer_norm("d.norm2", y + mha("d.multihead_attn", y, m, 2))
    h = linear("d.linear2", np.maximum(linear("d.linear1", y, 6), 0), 4)
    out.add("infer", "decoder", layer_norm("d.norm3", y + h))
    z = layer_norm("g.norm1", x)
    y = x + mha("g.self_attn", z, z, 2, causal)
    y = y + mha("g.multihead_attn", layer_norm("g.norm2", y), m, 2, ok[:, :, 1:3])
    h = linear("g.linear2", gelu(linear("g.linear1", layer_norm("g.norm3", y), 6)), 4)
    out.add("infer", "decoder_first", y + h)
    p = np.zeros((5, 4))
    for t in range(5):
        for i in range(2):
            angle = t / 10000 ** (2 * i / 4)
            p[t, 2 * i], p[t, 2 * i + 1] = math.sin(angle), math.cos(angle)
    out.add("infer", "position", p)
    r = np.zeros_like(x)
    for t in range(5):
        for i in range(2):
            angle = (t + 3) / 10000 ** (2 * i / 4)
            a, b = x[:, t, i], x[:, t, i + 2]
            r[:, t, i] = a * math.cos(angle) - b * math.sin(angle)
            r[:, t, i + 2] = a * math.sin(angle) + b * math.cos(angle)
    out.add("infer", "rotated", r)
    out.save()


T = STEP + 1


def optimizer(name, rule):
    """The models of x.dl are all sum(w * x): the gradient of w is the sum of x over the batch."""
    out = Out(name)
    x = value("x", B, 4)
    g = x.sum(axis=0)
    p = value("w", 4)
    slot = lambda s: positive("w#" + s, 4)
    for key, result in rule(p, g, slot).items():
        out.add("train", "w" if key == "w" else "w#" + key, result)
    out.save()


def sgd(p, g, slot):
    g = g + 0.1 * p
    v = 0.9 * slot("momentum_buffer") + 0.5 * g
    return {"w": p - 0.2 * (g + 0.9 * v), "momentum_buffer": v}


def adam(p, g, slot):
    g = g + 0.1 * p
    m = 0.9 * slot("exp_avg") + 0.1 * g
    v = 0.999 * slot("exp_avg_sq") + 0.001 * g * g
    top = np.maximum(slot("max_exp_avg_sq"), v)
    step = 0.01 / (1 - 0.9**T)
    w = p - step * m / (np.sqrt(top) / math.sqrt(1 - 0.999**T) + 1e-8)
    return {"w": w, "exp_avg": m, "exp_avg_sq": v, "max_exp_avg_sq": top}


def adamw(p, g, slot):
    m = 0.9 * slot("exp_avg") + 0.1 * g
    v = 0.999 * slot("exp_avg_sq") + 0.001 * g * g
    w = p * (1 - 0.01 * 0.05)
    w = w - 0.01 * (m / (1 - 0.9**T)) / (np.sqrt(v / (1 - 0.999**T)) + 1e-8)
    return {"w": w, "exp_avg": m, "exp_avg_sq": v}


def rmsprop(p, g, slot):
    s = 0.99 * slot("square_avg") + 0.01 * g * g
    a = 0.99 * slot("grad_avg") + 0.01 * g
    b = 0.9 * slot("momentum_buffer") + g / (np.sqrt(s - a * a) + 1e-8)
    return {"w": p - 0.01 * b, "square_avg": s, "grad_avg": a, "momentum_buffer": b}


def adagrad(p, g, slot):
    s = slot("sum_sq") + g * g
    return {"w": p - 0.01 / (1 + STEP * 0.1) * g / (np.sqrt(s) + 1e-10), "sum_sq": s}


def adadelta(p, g, slot):
    s = 0.9 * slot("square_avg") + 0.1 * g * g
    d = np.sqrt(slot("acc_delta") + 1e-6) / np.sqrt(s + 1e-6) * g
    a = 0.9 * slot("acc_delta") + 0.1 * d * d
    return {"w": p - d, "square_avg": s, "acc_delta": a}


def adamax(p, g, slot):
    m = 0.9 * slot("exp_avg") + 0.1 * g
    u = np.maximum(0.999 * slot("exp_inf"), abs(g) + 1e-8)
    return {"w": p - 0.002 / (1 - 0.9**T) * m / u, "exp_avg": m, "exp_inf": u}


def nadam(p, g, slot):
    mu = 0.9 * (1 - 0.5 * 0.96 ** (T * 0.004))
    mu_next = 0.9 * (1 - 0.5 * 0.96 ** ((T + 1) * 0.004))
    product = slot("mu_product") * mu
    m = 0.9 * slot("exp_avg") + 0.1 * g
    v = 0.999 * slot("exp_avg_sq") + 0.001 * g * g
    root = np.sqrt(v / (1 - 0.999**T)) + 1e-8
    w = p - 0.002 * (1 - mu) / (1 - product) * g / root
    w = w - 0.002 * mu_next / (1 - product * mu_next) * m / root
    return {"w": w, "exp_avg": m, "exp_avg_sq": v}


def radam(p, g, slot):
    m = 0.9 * slot("exp_avg") + 0.1 * g
    v = 0.99 * slot("exp_avg_sq") + 0.01 * g * g
    mhat = m / (1 - 0.9**T)
    c2 = 1 - 0.99**T
    longest = 2 / (1 - 0.99) - 1
    length = longest - 2 * T * 0.99**T / c2
    if length > 5:
        rect = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        w = p - 0.001 * mhat * rect * math.sqrt(c2) / (np.sqrt(v) + 1e-8)
    else:
        w = p - 0.001 * mhat
    return {"w": w, "exp_avg": m, "exp_avg_sq": v}


def lamb(p, g, slot):
    m = 0.9 * slot("exp_avg") + 0.1 * g
    v = 0.999 * slot("exp_avg_sq") + 0.001 * g * g
    r = m / (1 - 0.9**T) / (np.sqrt(v / (1 - 0.999**T)) + 1e-6) + 0.01 * p
    trust = np.linalg.norm(p) / np.linalg.norm(r)
    return {"w": p - 0.001 * trust * r, "exp_avg": m, "exp_avg_sq": v}


def lion(p, g, slot):
    m = slot("exp_avg")
    u = np.sign(0.9 * m + 0.1 * g)
    return {"w": p * (1 - 0.01 * 0.1) - 0.01 * u, "exp_avg": 0.99 * m + 0.01 * g}


def schedules():
    out = Out("schedules")
    s, total = STEP, 20
    anneal = lambda a, b, part: b + (a - b) / 2 * (1 + math.cos(math.pi * part))
    turn = 0.3 * total - 1
    out.add("infer", "step_decay", 0.1 * 0.5 ** (s // 2))
    out.add("infer", "multi_step", 0.1 * 0.5**2)
    out.add("infer", "exponential", 0.1 * 0.9 ** (s / 2))
    out.add("infer", "linear", 0.1 + (0.01 - 0.1) * s / total)
    out.add("infer", "polynomial", 0.1 * (1 - s / total) ** 2)
    out.add("infer", "cosine", anneal(0.1, 0.01, s / total))
    out.add("infer", "warm", 0.1 * 5 / 10)
    out.add("infer", "warmed", anneal(0.1, 0.0, (s - 2) / (total - 2)))
    out.add("infer", "warm_linear", 0.1 * (1 - (s - 2) / (total - 2)))
    out.add("infer", "warm_constant", 0.1 * 5 / 8)
    out.add("infer", "inverse_sqrt", 0.1 * min(5 / 3, math.sqrt(3 / 5)))
    out.add("infer", "one_cycle", anneal(0.1 / 25, 0.1, s / turn))
    out.add("infer", "restarts", anneal(0.1, 0.0, (s % 3) / 3))
    out.save()


def boxes():
    out = Out("boxes")
    b = [[0, 0, 2, 2], [0.1, 0, 2.1, 2], [3, 3, 4, 5], [0, 1, 2, 3]]

    def iou(p, q):
        w = max(0, min(p[2], q[2]) - max(p[0], q[0]))
        h = max(0, min(p[3], q[3]) - max(p[1], q[1]))
        area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
        return w * h / (area(p) + area(q) - w * h)
    out.add("infer", "iou", [[iou(p, q) for q in b] for p in b])
    found = [i for i, v in enumerate(value("x", B)) if v > 0.05]
    out.add("infer", "index", (found + [0] * 4)[:4])
    out.add("infer", "count", len(found))
    out.add("infer", "kept", [1, 2, 3])
    out.add("infer", "n", 3)
    out.save()


for make in (boxes, activations, losses, norms, convolutions, pooling, recurrent, attention, schedules):
    make()
for rule in (sgd, adam, adamw, rmsprop, adagrad, adadelta, adamax, nadam, radam, lamb, lion):
    optimizer(rule.__name__, rule)
