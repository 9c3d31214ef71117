"""PyTorch's layers and losses in the language."""
import torch

from words import TABLE, Tensor, Unsaid, axes_of, default_only, floats, number, numbers_only, op, same_kind, sizes

# -- networks

@op("nn.functional.linear")
def say_linear(case, x, weight, bias=None):
    same_kind(x, weight)
    if x.rank == 0 or weight.rank < 2 or not x.is_float:
        raise Unsaid("linear maps of one feature vector or of integers")
    product = "{... i, o i -> ... o}(%s, %s)" % (x, weight)
    return product if bias is None else "%s + %s" % (product, bias)


def layer_of(rank, x):
    if x.rank != rank + 2:
        raise Unsaid("inputs without a batch axis")
    if not x.is_float:
        raise Unsaid("convolutions of integers")


def each(v, rank):
    return [v] * rank if isinstance(v, int) else list(v) if len(v) == rank else [v[0]] * rank


@op("nn.functional.conv1d", "nn.functional.conv2d", "nn.functional.conv3d")
def say_conv(case, x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    rank = int(case.op.name[-2])
    layer_of(rank, x)
    if isinstance(padding, str):
        if padding == "valid":
            padding = 0
        else:
            total = [d * (k - 1) for d, k in zip(each(dilation, rank), weight.shape[2:])]
            if any(t % 2 for t in total):
                raise Unsaid("padding of unequal sides")
            padding = [t // 2 for t in total]
    text = "conv(%s, %s, stride=%s, padding=%s, dilation=%s, groups=%d)" % (
        x, weight, sizes(each(stride, rank)), sizes(each(padding, rank)), sizes(each(dilation, rank)), groups)
    return text if bias is None else "%s + reshape(%s, %s)" % (text, bias, sizes([bias.shape[0]] + [1] * rank))


@op("nn.functional.conv_transpose1d", "nn.functional.conv_transpose2d", "nn.functional.conv_transpose3d")
def say_conv_transpose(case, x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    rank = int(case.op.name[-2])
    layer_of(rank, x)
    text = "conv_transpose(%s, %s, stride=%s, padding=%s, output_padding=%s, dilation=%s, groups=%d)" % (
        x, weight, sizes(each(stride, rank)), sizes(each(padding, rank)), sizes(each(output_padding, rank)), sizes(each(dilation, rank)), groups)
    return text if bias is None else "%s + reshape(%s, %s)" % (text, bias, sizes([bias.shape[0]] + [1] * rank))


@op("nn.functional.max_pool1d", "nn.functional.max_pool2d", "nn.functional.max_pool3d")
def say_max_pool(case, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    rank = int(case.op.name[-2])
    layer_of(rank, x)
    if ceil_mode or return_indices:
        raise Unsaid("ceil_mode" if ceil_mode else "return_indices")
    stride = stride if stride not in (None, [], ()) else kernel_size
    return "max_pool%dd(%s, %s, stride=%s, padding=%s, dilation=%s)" % (
        rank, x, sizes(each(kernel_size, rank)), sizes(each(stride, rank)), sizes(each(padding, rank)), sizes(each(dilation, rank)))


@op("nn.functional.avg_pool1d", "nn.functional.avg_pool2d", "nn.functional.avg_pool3d")
def say_avg_pool(case, x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    rank = int(case.op.name[-2])
    layer_of(rank, x)
    if ceil_mode or divisor_override:
        raise Unsaid("ceil_mode" if ceil_mode else "divisor_override")
    stride = stride if stride not in (None, [], ()) else kernel_size
    text = "avg_pool%dd(%s, %s, stride=%s, padding=%s" % (rank, x, sizes(each(kernel_size, rank)), sizes(each(stride, rank)), sizes(each(padding, rank)))
    if not count_include_pad and rank == 3:
        raise Unsaid("count_include_pad in three dimensions")
    return text + ("" if count_include_pad else ", count_include_pad=false") + ")"


@op("nn.functional.adaptive_avg_pool2d")
def say_adaptive(case, x, size):
    layer_of(2, x)
    size = [size, size] if isinstance(size, int) else [n if s is None else s for s, n in zip(size, x.shape[2:])]
    if any(n % s for n, s in zip(x.shape[2:], size)):
        raise Unsaid("windows of unequal sizes")
    return "adaptive_avg_pool2d(%s, %s)" % (x, sizes(size))


@op("nn.functional.layer_norm")
def say_layer_norm(case, x, shape, weight=None, bias=None, eps=1e-5):
    if len(shape) != 1:
        raise Unsaid("layer norm over several axes")
    text = "layer_norm(%s, eps=%s, affine=false)" % (x, number(eps))
    text = text if weight is None else "%s * %s" % (text, weight)
    return text if bias is None else "%s + %s" % (text, bias)


@op("nn.functional.group_norm")
def say_group_norm(case, x, groups, weight=None, bias=None, eps=1e-5):
    text = "group_norm(%s, %d, eps=%s, affine=false)" % (x, groups, number(eps))
    trailing = [1] * (x.rank - 2)
    text = text if weight is None else "%s * reshape(%s, %s)" % (text, weight, sizes([x.shape[1]] + trailing))
    return text if bias is None else "%s + reshape(%s, %s)" % (text, bias, sizes([x.shape[1]] + trailing))


@op("nn.functional.rms_norm")
def say_rms_norm(case, x, shape, weight=None, eps=None):
    if len(shape) != 1:
        raise Unsaid("rms norm over several axes")
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    scale = "rsqrt(mean(square(%s), axis=-1, keepdims=true) + %s)" % (x, number(eps))
    return "%s * %s" % (x, scale) if weight is None else "%s * %s * %s" % (x, scale, weight)


@op("nn.functional.normalize")
def say_normalize(case, x, p=2.0, dim=1, eps=1e-12):
    if x.rank == 0:
        raise Unsaid("axes of scalars")
    if p < 0 or isinstance(dim, (list, tuple)):
        raise Unsaid("norms of order %s" % p)
    return "normalize(%s, p=%s, axis=%d, eps=%s)" % (x, number(float(p)), dim, number(float(eps)))


@op("nn.functional.cosine_similarity")
def say_cosine(case, a, b, dim=1, eps=1e-8):
    if a.rank == 0 or dim % max(a.rank, 1) != a.rank - 1 or a.shape != b.shape:
        raise Unsaid("cosines along other axes")
    return "cosine_similarity(%s, %s, eps=%s)" % (a, b, number(float(eps)))


@op("nn.functional.pixel_shuffle", "nn.functional.pixel_unshuffle")
def say_pixels(case, x, factor):
    layer_of(2, x)
    return "%s(%s, %d)" % (case.op.name.split(".")[-1], x, factor)


@op("nn.functional.scaled_dot_product_attention")
def say_attention(case, q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    default_only(scale=(scale, None))
    if dropout_p or enable_gqa or q.rank != 4 or (attn_mask is not None and attn_mask.is_float):
        raise Unsaid("attention with dropout, of other ranks, or with additive masks")
    if q.shape[:2] != k.shape[:2] or q.shape[:2] != v.shape[:2]:
        raise Unsaid("attention that broadcasts")
    mask = "" if attn_mask is None else ", mask=%s" % attn_mask
    return "scaled_dot_product_attention(%s, %s, %s, causal=%s%s)" % (q, k, v, number(is_causal), mask)


@op("nn.functional.prelu")
def say_prelu(case, x, weight):
    if x.rank == 0 and weight.rank:
        raise Unsaid("a slope of rank 1 for a scalar")
    slope = weight if weight.rank == 0 or weight.shape == (1,) else "reshape(%s, %s)" % (weight, sizes([weight.shape[0]] + [1] * max(x.rank - 2, 0)))
    return "where({0} > 0, {0}, {1} * {0})".format(x, slope)


@op("nn.functional.batch_norm", "nn.functional.instance_norm")
def say_batch_norm(case, x, mean=None, variance=None, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, use_input_stats=True, running_mean=None, running_var=None, cudnn_enabled=True):
    if case.op.name.endswith("batch_norm"):
        if training or mean is None:
            raise Unsaid("batch norm that trains (a layer with state)")
        wide = lambda v: "reshape(%s, %s)" % (v, sizes([x.shape[1]] + [1] * (x.rank - 2)))
        text = "(%s - %s) * rsqrt(%s + %s)" % (x, wide(mean), wide(variance), number(float(eps)))
        text = text if weight is None else "%s * %s" % (text, wide(weight))
        return text if bias is None else "%s + %s" % (text, wide(bias))
    default_only(running_mean=(running_mean, None), weight=(weight, None), bias=(bias, None), mean=(mean, None))
    return "instance_norm(%s, eps=%s)" % (x, number(float(eps)))


@op("nn.functional.bilinear")
def say_bilinear(case, a, b, weight, bias=None):
    text = "{... i, ... j, o i j -> ... o}(%s, %s, %s)" % (a, b, weight)
    raise Unsaid("contractions of three operands") if text else None


@op("nn.functional.interpolate", "nn.functional.upsample_nearest", "nn.functional.upsample_bilinear")
def say_interpolate(case, x, size=None, scale_factor=None, mode=None, align_corners=None, **kw):
    mode = mode or ("bilinear" if case.op.name.endswith("bilinear") else "nearest")
    if mode not in ("nearest", "bilinear") or align_corners or x.rank != 4 or not x.is_float or case.op.name.endswith("upsample_bilinear"):
        raise Unsaid("interpolation but for nearest and bilinear, without align_corners")
    target = [size] * 2 if isinstance(size, int) else size or [int(n * (scale_factor if isinstance(scale_factor, (int, float)) else scale_factor[0])) for n in x.shape[2:]]
    ratios = {t / n for t, n in zip(target, x.shape[2:])}
    if len(ratios) != 1 or not min(ratios).is_integer() or isinstance(scale_factor, float) and not scale_factor.is_integer():
        raise Unsaid("interpolation by other than whole factors")
    own = "upsample_nearest2d" if mode == "nearest" else "upsample_bilinear2d"
    return "%s(%s, scale=%d)" % (own, x, int(min(ratios)))


@op("nn.functional.pairwise_distance")
def say_pairwise(case, a, b, p=2.0, eps=1e-6, keepdim=False):
    if p != 2.0 or a.shape != b.shape or a.rank == 0 or not a.is_float:
        raise Unsaid("norms of order %s, or of integers" % p)
    return "norm(%s - %s + %s, axis=-1, keepdims=%s)" % (a, b, number(eps), number(keepdim))


# -- losses

def loss(own, options=()):
    def say_it(case, x, y, reduction="mean", **kw):
        default_only(reduction=(reduction, "mean"))
        if not x.is_float or not y.is_float or x.shape != y.shape or x.rank == 0:
            raise Unsaid("losses of other than floats of one shape")
        text = [x, y]
        for key, value in kw.items():
            if key not in dict(options):
                raise Unsaid("%s in a loss" % key)
            text.append("%s=%s" % (dict(options)[key], number(float(value))))
        return "%s(%s)" % (own, ", ".join(text))

    return say_it


TABLE["nn.functional.mse_loss"] = loss("mse")
TABLE["nn.functional.l1_loss"] = loss("l1")
TABLE["nn.functional.smooth_l1_loss"] = loss("smooth_l1", {"beta": "beta"}.items())
TABLE["nn.functional.huber_loss"] = loss("huber", {"delta": "delta"}.items())
TABLE["nn.functional.binary_cross_entropy"] = loss("binary_cross_entropy")
TABLE["nn.functional.soft_margin_loss"] = loss("soft_margin")


@op("nn.functional.binary_cross_entropy_with_logits")
def say_bce(case, x, y, weight=None, pos_weight=None, reduction="mean"):
    default_only(weight=(weight, None), reduction=(reduction, "mean"))
    if isinstance(pos_weight, Tensor):
        raise Unsaid("pos_weight as a tensor")
    return loss("binary_cross_entropy_with_logits")(case, x, y)


@op("nn.functional.cross_entropy", "nn.functional.nll_loss")
def say_cross_entropy(case, x, labels, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    default_only(reduction=(reduction, "mean"))
    if labels.is_float or x.rank < 2:
        raise Unsaid("losses of other than rows with labels")
    moved = x if x.rank == 2 else "transpose(%s, %s)" % (x, sizes([0, *range(2, x.rank), 1]))
    name = case.op.name.split(".")[-1]
    text = [moved, "cast(%s, i32)" % labels, "ignore_index=%s" % number(ignore_index)]
    if name == "cross_entropy":
        text.append("label_smoothing=%s" % number(float(label_smoothing)))
    if weight is not None:
        if name == "nll_loss":
            raise Unsaid("weights of classes")
        text.append("weight=%s" % weight)
    return "%s(%s)" % (name, ", ".join(text))


@op("nn.functional.kl_div")
def say_kl(case, x, y, reduction="mean", log_target=False):
    if reduction != "batchmean" or log_target or x.shape != y.shape or x.rank < 2:
        raise Unsaid("kl_div but for reduction=batchmean")
    return "kl_div(%s, %s)" % (x, y)


@op("nn.functional.triplet_margin_loss")
def say_triplet(case, a, p, n, margin=1.0, reduction="mean", eps=1e-6, **kw):
    default_only(reduction=(reduction, "mean"), **{k: (v, {"p": 2}.get(k)) for k, v in kw.items()})
    if a.rank != 2 or not a.is_float or a.shape != p.shape or a.shape != n.shape:
        raise Unsaid("losses of other than rows")
    return "triplet_margin(%s, %s, %s, margin=%s)" % (a, p, n, number(float(margin)))


@op("nn.functional.multi_margin_loss")
def say_multi_margin(case, x, labels, p=1, margin=1.0, weight=None, reduction="mean"):
    default_only(reduction=(reduction, "mean"), weight=(weight, None))
    if p != 1 or x.rank != 2:
        raise Unsaid("margins to other powers")
    return "multi_margin(%s, %s, margin=%s)" % (x, labels, number(float(margin)))


@op("nn.functional.margin_ranking_loss")
def say_ranking(case, a, b, y, margin=0.0, reduction="mean"):
    default_only(reduction=(reduction, "mean"))
    if a.shape != b.shape or a.shape != y.shape or not a.is_float or not y.is_float or a.rank == 0:
        raise Unsaid("losses of other than floats of one shape")
    return "margin_ranking(%s, %s, %s, margin=%s)" % (a, b, y, number(float(margin)))


@op("nn.functional.cosine_embedding_loss")
def say_cosine_embedding(case, a, b, y, margin=0.0, reduction="mean"):
    default_only(reduction=(reduction, "mean"))
    if a.rank != 2 or a.shape != b.shape or not a.is_float or not y.is_float:
        raise Unsaid("losses of other than rows")
    return "cosine_embedding(%s, %s, %s, margin=%s)" % (a, b, y, number(float(margin)))


@op("nn.functional.poisson_nll_loss")
def say_poisson(case, x, y, log_input=True, full=False, eps=1e-8, reduction="mean"):
    default_only(reduction=(reduction, "mean"))
    if not log_input or full or x.shape != y.shape or not x.is_float or x.rank == 0:
        raise Unsaid("poisson_nll but for log_input")
    return "poisson_nll(%s, %s)" % (x, y)


@op("nn.functional.gaussian_nll_loss")
def say_gaussian(case, x, y, variance, full=False, eps=1e-6, reduction="mean"):
    default_only(reduction=(reduction, "mean"))
    if full or x.shape != y.shape or x.shape != variance.shape or not x.is_float or x.rank == 0:
        raise Unsaid("gaussian_nll of other shapes")
    return "gaussian_nll(%s, %s, %s, eps=%s)" % (x, y, variance, number(eps))
