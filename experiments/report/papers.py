"""What the four papers claim, each in a sentence, and which of our claims, or which test, answers it."""

from typing import Literal, NamedTuple

from experiments.claims import Claim

Status = Literal["holds", "fails", "needs"]

PAPERS = {
    "2410.13981": "Liu, Zhou, Shen and Yang: learning to optimise, and sparse recovery in context",
    "2410.07263": "Dutta and Sra: Transformers with a memory, and linear first-order methods",
    "2403.03183": "Giannou, Yang, Wang, Papailiopoulos and Lee: Newton's method in context",
    "2410.14183": "Jin, Balasubramanian and Lai: mixtures of linear regressions in context",
}


class Needed(NamedTuple):
    """What would answer a claim on an accelerator: a command, and what it takes."""

    command: str
    estimate: str


class Statement(NamedTuple):
    """A claim of a paper. `evidence`: ids of claims, or tests; `against`: it is evidence that the statement is not so."""

    paper: str
    place: str
    text: str
    evidence: tuple[str, ...] = ()
    against: bool = False
    note: str = ""
    needed: Needed | None = None


def status_of(statement: Statement, claims: dict[str, Claim]) -> Status:
    """Whether the statement holds: all of its evidence does, and speaks for it; without evidence it needs an accelerator."""
    if statement.needed:
        return "needs"
    held = all(claims[name].holds for name in statement.evidence if not name.startswith("tests/"))
    return "holds" if held and not statement.against else "fails"


FROM_RANDOM = Needed(
    "python -m experiments sparse_recovery.at_length --preset accelerator --parts random --random-steps 1000000 --random-batch 64",
    "75 minutes on one H100 at the 14,199 tasks a second measured there in bfloat16; this command's float32 takes longer",
)
GPT_2 = Needed(
    "python -m experiments sparse_recovery.transformers --preset quick --parts random --starts.2.n 40 --starts.2.steps 500000",
    "an hour and a half on one H100 at the 6,189 tasks a second measured there in bfloat16; this command's float32 takes longer",
)
SUPPORT = Needed(
    "python -m experiments sparse_recovery.transformers --preset cpu --parts support --support-steps 250000",
    "49 minutes a support on one H100 at the 21,836 tasks a second measured there in bfloat16; float32 takes longer",
)
NEWTON = Needed(
    "python -m experiments newton --preset paper",
    "900 PFLOP: 14 hours on one H100 at the 1.8 % of its peak that a model as narrow reaches there",
)
MIXTURES = Needed(
    "python -m experiments mixture.trained --preset paper",
    "about 10 PFLOP a training: ten minutes on one H100 at the 1.8 % of its peak that a model as narrow reaches there; the other "
    "parts, and the chains of the limit, were never run at this size",
)

STATEMENTS = (
    Statement(
        "2410.13981",
        "Theorem 4.1",
        "A decoder of K layers with four ReLU heads each runs K steps of LISTA-VM, for every prefix of the prompt at once.",
        ("exactness/lista-vm-f64", "exactness/lista-vm-f32", "exactness/lista-vm-factored-f64"),
        note="The prompts must be bounded, or the constant that masks tokens large.",
    ),
    Statement(
        "2410.13981",
        "Theorem 5.1",
        "With enough examples its error falls by a factor a layer, with high probability.",
        ("sparse/bound-violations",),
        note="Held to a bound with constants of our own, of the same form. It says something from about 250 examples on.",
    ),
    Statement(
        "2410.13981",
        "Theorem 5.1",
        "A set that is known to hold the support makes that factor smaller, and can be put into the weights.",
        ("exactness/lista-vm-known-support-f64", "sparse/known-support-rate"),
    ),
    Statement(
        "2410.13981",
        "Section 5",
        "The error falls by a factor a layer, faster than by ISTA's steps.",
        ("sparse/rate-lista-vm", "sparse/rate-small-tf"),
        note="In the median of prompts with ten examples, over twelve layers.",
    ),
    Statement(
        "2410.13981",
        "Section 5",
        "The signal is read from the last layer by a quadratic form exactly, and by a linear one with one more layer.",
        ("exactness/lista-vm-f64", "exactness/lista-vm-linear-read-out-f64"),
    ),
    Statement(
        "2410.13981",
        "Section 6",
        "Test matrices need not be those of training: one set of parameters recovers signals under a fresh matrix each.",
        ("sparse/lista-vm-fresh-n10", "results/small-tf-fresh-n10"),
        note="The Transformer is filled by a theorem and trained on. In-context ALISTA has half of its error.",
    ),
    Statement(
        "2410.13981",
        "Section 6",
        "One set of parameters serves every number of examples.",
        ("exactness/lista-vm-f64", "sparse/bound-violations"),
        note="Exact for every prefix of 40 examples, and bounded at every number of them.",
    ),
    Statement(
        "2410.13981",
        "Section 6",
        "Solvers learned for one matrix are at least as good on it.",
        ("sparse/lista-cp-fixed-n10",),
        note="On other matrices the same LISTA-CP has 10^12 to 10^18.",
    ),
    Statement(
        "2410.13981",
        "Figure 1",
        "A trained Transformer is ahead of ISTA and FISTA with as many steps, and of LISTA-VM.",
        ("results/small-tf-fresh-n10", "sparse/theorem-start-over-lista-vm"),
        note="From a theorem with momentum, which gives most of it: FISTA with twelve steps has 0.27.",
    ),
    Statement(
        "2410.13981",
        "Figure 1",
        "Small TF learns this from random parameters, in a million steps of 64 prompts.",
        note="30,000 steps of 256 on one H100 gave 0.36 at ten examples, between minimum norm (0.50) and FISTA's twelve steps (0.27).",
        needed=FROM_RANDOM,
    ),
    Statement(
        "2410.13981",
        "Figure 1",
        "GPT-2, trained the same way, does so too.",
        note="In 1,500 steps it learned nothing.",
        needed=GPT_2,
    ),
    Statement(
        "2410.13981",
        "Figure 1",
        "Trained Transformers gain from a support that lies in a known set, and classical solvers do not.",
        note="200 steps were too few to see it; LISTA-VM, trained for longer, does gain.",
        needed=SUPPORT,
    ),
    Statement(
        "2410.07263",
        "Proposition 1",
        "Layers with a register of momentum can run conjugate gradients, their coefficients being parameters.",
        (
            "tests/test_memory.py::test_fixed_parameters_are_linear_in_the_labels",
            "memformer/limit-gap",
            "memformer/cg-isotropic-l4",
        ),
        against=True,
        note="With fixed parameters answers are linear in the labels, which those of conjugate gradients are not; and no fixed scalar "
        "coefficients have a smaller log loss after four layers than -2.90, where conjugate gradients have -6.39.",
    ),
    Statement(
        "2410.07263",
        "Proposition 1",
        "They run heavy ball, Chebyshev's semi-iteration and any schedule of steps and momenta, or conjugate gradients frozen on "
        "one prompt.",
        (
            "exactness/heavy-ball-f64",
            "exactness/chebyshev-f64",
            "exactness/momentum-f64",
            "exactness/frozen-conjugate-gradient-f64",
        ),
    ),
    Statement(
        "2410.07263",
        "Proposition 1",
        "They run conjugate gradients where the prompt itself determines the coefficients.",
        ("memformer/exact-cg-gap", "exactness/conjugate-gradient-f64", "memformer/exact-cg-noniso-l4"),
    ),
    Statement(
        "2410.07263",
        "Proposition 2",
        "Layers that remember all gradients run any linear first-order method, Nesterov's among them.",
        ("exactness/linear-first-order-f64", "exactness/nesterov-f64"),
    ),
    Statement(
        "2410.07263",
        "Section 3",
        "Coefficients may be diagonal matrices.",
        ("exactness/diagonal-first-order-f64",),
        note="By one head for each coordinate. Weights on the tokens of a memory scale labels, and give no such matrix by themselves.",
    ),
    Statement(
        "2410.07263",
        "Section 3",
        "A memory with one weight for all layers contains momentum.",
        ("tests/test_memory.py::test_tied_coefficients_are_undamped_momentum",),
        against=True,
        note="Its moves never decay. Momentum that does needs weights of every layer's own.",
    ),
    Statement(
        "2410.07263",
        "Figures 1 and 2",
        "A memory lowers the loss that a given depth can reach.",
        ("memformer/limit-gap", "exactness/optimal-without-memory-f64"),
        against=True,
        note="For scores that are multiples of Sigma^-1: gradient descent with the right steps is at the same limit. Memory makes all "
        "depths optimal at once, and trains faster.",
    ),
    Statement(
        "2410.07263",
        "Figure 2",
        "Training reaches what such layers can do.",
        ("memformer/trained-untied-l4", "memformer/trained-untied-any-depth"),
        note="On fresh prompts; the published -1.60 is 1.3 above.",
    ),
    Statement(
        "2410.07263",
        "Figure 2",
        "Memory gains nothing where inputs are isotropic.",
        ("memformer/trained-untied-l4", "exactness/optimal-without-memory-f64"),
        note="Trained on fresh prompts both have -2.90.",
    ),
    Statement(
        "2410.07263",
        "Appendix",
        "Trained layers are ahead of momentum gradient descent and of Nesterov's method.",
        (
            "memformer/published-momentum-as-published",
            "memformer/published-nesterov-as-published",
            "memformer/published-tuned-momentum-over-best",
        ),
        against=True,
        note="They are ahead of both with the paper's numbers. With two numbers tuned, and Sigma^-1, momentum is within 0.01 of the best.",
    ),
    Statement(
        "2410.07263",
        "Figure 2",
        "With momentum and free scores they reach the best scalar coefficients where inputs are not isotropic.",
        ("memformer/published-momentum-sound-l4",),
        note="-2.86 beside -2.90, and -1.96 as published.",
    ),
    Statement(
        "2410.07263",
        "Figure 3",
        "Memory lowers the loss of layers that move their inputs (GD++), to -6.5.",
        ("memformer/published-own-flatters-moving-l4",),
        against=True,
        note="The loss is met on the prompts that were trained on; on fresh ones the same parameters diverge. Trained on fresh prompts "
        "both have about -5.5.",
    ),
    Statement(
        "2410.07263",
        "Figure 5",
        "More heads lower the loss.",
        ("tests/test_memory.py::test_heads_that_write_labels_are_one_head",),
        against=True,
        note="Heads that write labels alone are one head of the sum of their scores; what they gain is in training on few prompts.",
    ),
    Statement(
        "2410.07263",
        "Version 3",
        "Experts that are mixed by gates answer prompts of variances that none was trained on.",
        ("memformer/gate-equivariance", "memformer/published-gated-minus-fitted-l4", "memformer/gated-minus-limit-l4"),
        note="One expert is enough, with a gate that reads the variance of the inputs and needs no labels.",
    ),
    Statement(
        "2410.07263",
        "Version 3",
        "In a mixture of laws experts for each are ahead of one for all.",
        ("memformer/routed-minus-one-for-all", "memformer/routed-quadrature-gap"),
        note="Routed by their inputs.",
    ),
    Statement(
        "2403.03183",
        "Lemma 4.1",
        "Two layers of linear attention do a step of Newton's iteration for an inverse, and one layer does where it is symmetric.",
        ("exactness/newton-schulz-f64", "exactness/newton-schulz-in-one-layer-f64"),
        note="One layer is enough for any matrix, if its transpose is stored.",
    ),
    Statement(
        "2403.03183",
        "Theorem 4.2",
        "3 + T layers of two heads answer by least squares, or ridge, with an inverse of T such steps.",
        ("exactness/newton-least-squares-f64", "exactness/newton-ridge-f64", "newton/least-squares-gap"),
    ),
    Statement(
        "2403.03183",
        "Section 4",
        "Iterations of higher order fit into two layers each.",
        ("exactness/third-order-inverse-f64", "newton/orders-condition-1"),
    ),
    Statement(
        "2403.03183",
        "Theorems 5.1, 5.2",
        "With ReLU MLPs a block of layers is a step of damped Newton for logistic regression, up to the width of the MLPs.",
        (
            "newton/logistic-error",
            "newton/logistic-bound",
            "exactness/damped-newton-f64",
            "exactness/damped-newton-of-any-length-f64",
        ),
        note="By 6 + k layers a step, where the theorem has 11 + 2k.",
    ),
    Statement(
        "2403.03183",
        "Theorem 5.1",
        "A width of 1 / eps^4 is enough for an error of eps.",
        ("newton/logistic-width-rate",),
        note="1 / sqrt(eps) is: the error falls fourfold when the width doubles.",
    ),
    Statement(
        "2403.03183",
        "Theorem 5.4",
        "Above a floor of the errors' size the inexact method converges quadratically, and there it rests.",
        ("newton/order", "newton/logistic-floor"),
    ),
    Statement(
        "2403.03183",
        "Figure 2",
        "Trained linear attention gains nothing from more than four layers.",
        ("newton/deeper-condition-5",),
        against=True,
        note="Scaled down. At condition 1 that is so: six layers have 0.99 [0.93, 1.05] of the error of four. At condition 5 they have 0.17.",
    ),
    Statement(
        "2403.03183",
        "Figure 2",
        "With layer norm it is better, inputs being well-conditioned.",
        ("newton/norm-condition-1", "newton/norm-deepest-condition-1"),
        note="Scaled down.",
    ),
    Statement(
        "2403.03183",
        "Figure 9",
        "And so it is where inputs are ill-conditioned.",
        ("newton/norm-condition-5", "newton/norm-deepest-condition-5"),
        note="Scaled down.",
    ),
    Statement(
        "2403.03183",
        "Figure 2",
        "After as many layers as steps linear attention stands between Newton's orders 2 and 3, and with the norm above them.",
        note="Scaled down, two layers are before two steps of any order, and from four layers on order 3 is ahead.",
        needed=NEWTON,
    ),
    Statement(
        "2403.03183",
        "Figures 3 to 6",
        "Within the range of the training inputs predictions are lines, and far from it linear attention does not learn the line.",
        note="Scaled down, without the norm they are no lines even within it. The paper's deeper lines are in no preset.",
        needed=NEWTON,
    ),
    Statement(
        "2403.03183",
        "Figure 8",
        "Where inputs are ill-conditioned or labels noisy trained attention still follows methods of higher order.",
        needed=NEWTON,
    ),
    Statement(
        "2403.03183",
        "Figures 1 and 7",
        "For logistic regression a trained softmax encoder of few layers is ahead of Newton's method.",
        note="Scaled down, encoders of 1, 2 and 4 layers have what Newton passes in three steps.",
        needed=NEWTON,
    ),
    Statement(
        "2410.14183",
        "Theorem 3.1",
        "A Transformer of ReLU attention and MLPs runs gradient EM for a mixture of two regressions.",
        ("mixture/em-gap-k2", "mixture/em-gap-over-bound", "exactness/symmetric-expectation-maximisation-f64"),
    ),
    Statement(
        "2410.14183",
        "Theorem 3.1",
        "It does so for any number of components, with four heads a layer.",
        ("mixture/em-gap-k3", "exactness/expectation-maximisation-f64", "exactness/expectation-maximisation-in-turn-f64"),
    ),
    Statement(
        "2410.14183",
        "Theorem 2.1, version 1",
        "Its error falls as sqrt(d / n) where noise is low.",
        ("mixture/slope-high-snr", "mixture/slope-transformer-gap"),
    ),
    Statement(
        "2410.14183",
        "Theorem 2.1, version 1",
        "It falls as (d / n)^(1/4) where noise is high.",
        ("mixture/slope-low-snr",),
        note="A slope of -0.29, held to -0.3 at signal to noise 0.2. It is no power law on these lengths: -0.23, then -0.36.",
    ),
    Statement(
        "2410.14183",
        "Theorem 2.1, version 1",
        "High noise needs far more layers.",
        ("mixture/slope-steps-ratio",),
    ),
    Statement(
        "2410.14183",
        "Theorem 2.2, version 1",
        "Trained on B prompts it has a gap of order 1 / sqrt(B) on others.",
        ("mixture/trained-gap-slope",),
        note="The bound is for minimisers.",
    ),
    Statement(
        "2410.14183",
        "Training dynamics",
        "One layer of linear attention goes by gradient flow to a global optimum of its expected loss.",
        ("mixture/lsa-flow-gap", "mixture/lsa-flow-conserved", "mixture/lsa-risk-z"),
        note="Held to a closed form of our own, for general covariances.",
    ),
    Statement(
        "2410.14183",
        "Experiments",
        "A trained Transformer is as good as EM, and often better.",
        ("mixture/tf-over-best-baseline",),
        note="It learns an estimate that is linear in the labels; at low noise EM errs 37 times less.",
    ),
    Statement(
        "2410.14183",
        "Experiments",
        "Its width matters little.",
        ("mixture/trained-width-effect",),
    ),
    Statement(
        "2410.14183",
        "Experiments",
        "Its excess risk falls with examples and with signal to noise, and grows with the number of components, at 32 features.",
        note="At 8 features it falls with both, in all twelve cells; the figure of the experiment has two, three and five components.",
        needed=MIXTURES,
    ),
)
