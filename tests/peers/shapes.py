"""PyTorch's functions of shape and index, and products of matrices, in the language."""
import torch

from words import TABLE, Tensor, Unsaid, axes_of, default_only, floats, number, numbers_only, op, same_kind, sizes

# -- shapes

@op("reshape", "view", "reshape_as", "view_as")
def say_reshape(case, x, shape, *more):
    if isinstance(shape, Tensor):
        case.tensors.pop()
        shape = shape.shape
    shape = [shape, *more] if isinstance(shape, int) else list(shape)
    return "reshape(%s, %s)" % (x, sizes(x.value.reshape(shape).shape))


@op("transpose")
def say_transpose(case, x, a, b):
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    order = list(range(x.rank))
    order[a], order[b] = order[b], order[a]
    return "transpose(%s, %s)" % (x, sizes(order))


@op("permute")
def say_permute(case, x, dims, *more):
    dims = [dims, *more] if isinstance(dims, int) else dims
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    return "transpose(%s, %s)" % (x, sizes([d % x.rank for d in dims]))


@op("t", "mT", "mH")
def say_t(case, x):
    if x.rank < 2:
        raise Unsaid("axes of scalars")
    order = list(range(x.rank - 2)) + [x.rank - 1, x.rank - 2]
    return "transpose(%s, %s)" % (x, sizes(order))


@op("movedim")
def say_movedim(case, x, source, target):
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    order = [int(v) for v in torch.arange(x.rank)]
    moved = torch.empty([n + 2 for n in range(x.rank)]).movedim(source, target)
    order = [n - 2 for n in moved.shape]
    return "transpose(%s, %s)" % (x, sizes(order))


@op("unsqueeze")
def say_unsqueeze(case, x, dim):
    return "unsqueeze(%s, %d)" % (x, dim)


@op("squeeze")
def say_squeeze(case, x, dim=None):
    return "reshape(%s, %s)" % (x, sizes((x.value.squeeze() if dim is None else x.value.squeeze(dim)).shape))


@op("expand", "broadcast_to", "expand_as")
def say_expand(case, x, shape, *more):
    if isinstance(shape, Tensor):
        case.tensors.pop()
        shape = shape.shape
    shape = [shape, *more] if isinstance(shape, int) else shape
    return "expand(%s, %s)" % (x, sizes(x.value.expand(*shape).shape))


@op("cat", "hstack", "vstack", "stack")
def say_cat(case, xs, dim=0, axis=None):
    dim = axis if axis is not None else dim
    if any(0 in x.shape for x in xs):
        raise Unsaid("empty tensors")
    if len({x.value.dtype for x in xs}) > 1:
        raise Unsaid("operands of several types")
    name = case.op.name
    if name == "hstack":
        dim = 0 if xs[0].rank == 1 else 1
    if name in ("hstack", "vstack") and any(x.rank < 2 for x in xs) and (name == "vstack" or xs[0].rank == 0):
        return "stack(%s)" % ", ".join(xs)
    own = "stack" if name == "stack" else "concat"
    return "%s(%s, axis=%d)" % (own, ", ".join(xs), dim)


@op("flip")
def say_flip(case, x, dims, *more):
    dims = [dims, *more] if isinstance(dims, int) else dims
    if len(dims) == 0:
        raise Unsaid("no axes")
    return "flip(%s, axis=%s)" % (x, axes_of(list(dims)))


@op("fliplr", "flipud")
def say_fliplr(case, x):
    return "flip(%s, axis=%d)" % (x, case.op.name == "fliplr")


@op("roll")
def say_roll(case, x, shifts, dims=None):
    if dims is None or x.rank == 0:
        raise Unsaid("roll without an axis")
    shifts, dims = [list(v) if isinstance(v, (list, tuple)) else [v] for v in (shifts, dims)]
    if not dims:
        raise Unsaid("roll without an axis")
    text = str(x)
    for s, d in zip(shifts, dims):
        text = "roll(%s, %d, axis=%d)" % (text, s, d)
    return text


@op("tile", "repeat")
def say_tile(case, x, reps, *more):
    reps = [reps, *more] if isinstance(reps, int) else list(reps)
    if 0 in reps:
        raise Unsaid("empty tensors")
    rank = max(len(reps), x.rank)
    shape, reps = [1] * (rank - x.rank) + list(x.shape), [1] * (rank - len(reps)) + reps
    wide = [n for r, s in zip(reps, shape) for n in (r, s)]
    inner = [n for s in shape for n in (1, s)]
    if len(wide) > 16:
        raise Unsaid("rank above 16")
    return "reshape(expand(reshape(%s, %s), %s), %s)" % (x, sizes(inner), sizes(wide), sizes(r * s for r, s in zip(reps, shape)))


@op("narrow")
def say_narrow(case, x, dim, start, length):
    if isinstance(start, Tensor) or length == 0 or x.rank == 0:
        raise Unsaid("empty tensors" if length == 0 else "sizes from tensors")
    start %= x.shape[dim]
    marks = [":"] * x.rank
    marks[dim] = "%d:%d" % (start, start + length)
    return "%s[%s]" % (x, ", ".join(marks))


@op("select")
def say_select(case, x, dim, index):
    marks = [":"] * x.rank
    marks[dim] = str(index)
    return "%s[%s]" % (x, ", ".join(marks))


@op("flatten")
def say_flatten(case, x, start_dim=0, end_dim=-1):
    return "reshape(%s, %s)" % (x, sizes(x.value.flatten(start_dim, end_dim).shape))


@op("unflatten")
def say_unflatten(case, x, dim, shape):
    return "reshape(%s, %s)" % (x, sizes(x.value.unflatten(dim, shape).shape))


@op("ravel")
def say_ravel(case, x):
    return "reshape(%s, [%d])" % (x, x.value.numel())


@op("tril", "triu")
def say_tril(case, x, diagonal=0):
    return "%s(%s, k=%d)" % (case.op.name, x, diagonal)


@op("diagonal", "trace", "diag")
def say_diagonal(case, x, offset=0, dim1=0, dim2=1, diagonal=0):
    if (offset or diagonal or (dim1, dim2) != (0, 1) or x.rank != 2 or x.shape[0] != x.shape[1]):
        raise Unsaid("diagonals of other than square matrices")
    numbers_only(x)
    return "%s |> {i i -> i}" % x if case.op.name != "trace" else "sum(%s |> {i i -> i})" % x


@op("chunk", "split", "unbind", "tensor_split", "hsplit", "vsplit", "dsplit")
def say_split(case, x, sections=1, dim=0):
    name = case.op.name
    if name == "unbind":
        sections, dim = None, sections if sections != 1 else dim
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    if name in ("hsplit", "vsplit", "dsplit"):
        dim = {"hsplit": 0 if x.rank == 1 else 1, "vsplit": 0, "dsplit": 2}[name]
    parts = getattr(torch, name)(x.value, sections, dim) if name in ("chunk", "split", "tensor_split") else None
    if name == "split" and not isinstance(sections, int):
        raise Unsaid("parts of unequal sizes")
    if parts is None:
        parts = getattr(torch, name)(x.value, sections) if sections is not None else torch.unbind(x.value, dim)
    if name == "unbind":
        raise Unsaid("unbind")
    if len({p.shape for p in parts}) > 1 or any(0 in p.shape for p in parts):
        raise Unsaid("parts of unequal sizes")
    if len(parts) == 1:
        raise Unsaid("one part")
    return "split(%s, %d, axis=%d)" % (x, len(parts), dim)


@op("nn.functional.pad")
def say_pad(case, x, widths, mode="constant", value=None):
    if mode != "constant":
        raise Unsaid("padding mode " + mode)
    if any(w < 0 for w in widths):
        raise Unsaid("negative padding")
    pairs = [[widths[i], widths[i + 1]] for i in range(0, len(widths), 2)][::-1]
    pairs = [[0, 0]] * (x.rank - len(pairs)) + pairs
    numbers_only(x)
    if value is not None and not x.is_float:
        value = int(value)
    return "pad(%s, [%s], value=%s)" % (x, ", ".join(sizes(p) for p in pairs), number(value if value is not None else 0.0 if x.is_float else 0))


# -- indexing

@op("index_select")
def say_index_select(case, x, dim, index):
    if x.rank == 0 or index.rank == 0:
        raise Unsaid("axes of scalars")
    return "take(%s, %s, axis=%d)" % (x, index, dim)


@op("gather")
def say_gather(case, x, dim, index, sparse_grad=False):
    if x.rank == 0 or any(a != b for k, (a, b) in enumerate(zip(index.shape, x.shape)) if k != dim % x.rank):
        raise Unsaid("gather of a part")
    return "gather(%s, %s, axis=%d)" % (x, index, dim)


@op("scatter_add")
def say_scatter_add(case, x, dim, index, source):
    if x.rank == 0 or index.shape != source.shape or any(a != b for k, (a, b) in enumerate(zip(index.shape, x.shape)) if k != dim % x.rank):
        raise Unsaid("scatter of a part")
    numbers_only(x)
    return "scatter_add(%s, %s, %s, axis=%d)" % (x, index, source, dim)


@op("nn.functional.embedding")
def say_embedding(case, weight, ids, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    default_only(padding_idx=(padding_idx, None), max_norm=(max_norm, None))
    if scale_grad_by_freq:
        raise Unsaid("scale_grad_by_freq")
    weight, ids = (weight, ids) if not ids.is_float else (ids, weight)
    return "take(%s, %s, axis=0)" % (weight, ids)


@op("nn.functional.one_hot")
def say_one_hot(case, ids, num_classes=-1):
    n = num_classes if num_classes > 0 else int(ids.value.max()) + 1 if ids.value.numel() else 1
    return "one_hot(%s, %d, dtype=i64)" % (ids, n)


@op("sort", "argsort", "msort")
def say_sort(case, x, dim=-1, descending=False, stable=False):
    if isinstance(dim, bool):
        dim, descending = -1, dim
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    numbers_only(x)
    case.kept = 1  # which of equal elements comes first is not promised by PyTorch
    if case.op.name == "argsort" and x.value.unique().numel() != x.value.numel():
        raise Unsaid("order of equal elements")
    own = "argsort" if case.op.name == "argsort" else "sort"
    return "%s(%s, axis=%d, descending=%s)" % (own, x, 0 if case.op.name == "msort" else dim, number(descending))


@op("topk")
def say_topk(case, x, k, dim=-1, largest=True, sorted=True):
    if not largest or x.rank == 0 or k == 0:
        raise Unsaid("topk of the smallest" if not largest else "axes of scalars")
    numbers_only(x)
    if x.value.unique().numel() != x.value.numel():
        raise Unsaid("order of equal elements")
    return "topk(%s, %d, axis=%d)" % (x, k, dim)


@op("__getitem__")
def say_getitem(case, x, index):
    index = index if isinstance(index, tuple) else (index,)
    marks = []
    for i in index:
        if isinstance(i, bool) or not isinstance(i, (int, slice)):
            raise Unsaid("subscripts other than numbers and slices")
        if isinstance(i, int):
            marks.append(str(i))
            continue
        start, stop, step = i.indices(x.shape[len(marks)])
        if stop <= start:
            raise Unsaid("empty tensors")
        marks.append("%d:%d" % (start, stop) + (":%d" % step if step != 1 else ""))
    return "%s[%s]" % (x, ", ".join(marks)) if marks else "%s" % x


# -- products

@op("matmul", "__rmatmul__", "mm", "bmm", "mv", "dot", "vdot", "inner", "outer")
def say_matmul(case, x, y, out_dtype=None):
    same_kind(x, y)
    name = case.op.name
    if name == "__rmatmul__":
        x, y = y, x
    if name in ("outer"):
        return "unsqueeze(%s, 1) * unsqueeze(%s, 0)" % (x, y)
    if name == "inner":
        if x.rank == 0 or y.rank == 0:
            return "%s * %s" % (x, y)
        if (x.rank, y.rank) != (1, 1):
            raise Unsaid("inner products of matrices")
    if x.rank == 1 and y.rank == 1:
        return "sum(%s * %s)" % (x, y)
    if x.rank == 1 or y.rank == 1:
        if x.rank == 1:
            return "squeeze(unsqueeze(%s, 0) @ %s, axis=-2)" % (x, y)
        return "squeeze(%s @ unsqueeze(%s, 1), axis=-1)" % (x, y)
    return "%s @ %s" % (x, y)


@op("einsum")
def say_einsum(case, xs, equation):
    xs = xs if isinstance(xs, list) else [xs]
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or "." in equation or any(len(set(t)) != len(t) for t in terms) and len(terms) > 1:
        raise Unsaid("implicit results of einsum")
    spaced = ", ".join(" ".join(t) if t else "" for t in terms)
    return "{%s -> %s}(%s)" % (spaced, " ".join(right), ", ".join(xs))


@op("linalg.vecdot")
def say_vecdot(case, x, y, dim=-1):
    same_kind(x, y)
    if min(x.rank, y.rank) == 0:
        raise Unsaid("axes of scalars")
    return "sum(%s * %s, axis=%d)" % (x, y, dim)


@op("addmm", "baddbmm", "addmv", "addr", "addbmm")
def say_addmm(case, x, a, b, beta=1, alpha=1):
    same_kind(x, a, b)
    if not x.is_float:
        raise Unsaid("scaled products of integers")
    if case.op.name in ("addmv", "addr", "addbmm"):
        raise Unsaid(case.op.name)
    return "%s * %s + %s * (%s @ %s)" % (number(float(beta)), x, number(float(alpha)), a, b)
