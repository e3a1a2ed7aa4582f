r"""Does LaTeX accept a document? By pdflatex when installed, by a structural check otherwise.

The structural check reads tokens: braces and environments nest, ``\left`` meets ``\right``, math delimiters
pair, ``&`` stands in an alignment, a base has one sub- and one superscript, every command is known. It knows
the commands that mathematics in this project may use, and those that the document defines.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_PREAMBLE = r"\documentclass{article}\usepackage{amsmath,amssymb}\begin{document}"
_END = r"\end{document}"


class LatexError(AssertionError):
    """LaTeX would not compile this, and why."""


def compile_latex(document: str) -> None:
    """Raise LatexError unless the document, or the fragment of one, compiles."""
    if r"\documentclass" not in document:
        document = f"{_PREAMBLE}\n{document}\n{_END}"
    if shutil.which("pdflatex"):
        run_pdflatex(document)
    else:
        check_structure(document)


def compile_math(latex: str) -> None:
    """Raise LatexError unless the formula compiles as a display."""
    compile_latex(f"\\[\n{latex}\n\\]")


def run_pdflatex(document: str) -> None:
    """Raise LatexError with the first complaints of pdflatex."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "document.tex").write_text(document, encoding="utf-8")
        command = [
            "pdflatex",
            "-interaction=nonstopmode",
            "-halt-on-error",
            "-no-shell-escape",
            "document.tex",
        ]
        run = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
        if run.returncode:
            lines = run.stdout.decode(errors="replace").splitlines()
            first = next((i for i, line in enumerate(lines) if line.startswith("!")), 0)
            raise LatexError("\n".join(lines[first : first + 6]))


def check_structure(document: str) -> None:
    """Raise LatexError at the first thing that LaTeX would refuse, as far as tokens tell."""
    _Reader(document).read()


_COMMANDS = r"""
    documentclass usepackage begin end allowdisplaybreaks title author date maketitle tableofcontents
    clearpage newpage section subsection subsubsection paragraph label ref eqref cite href url texttt
    textbf textit emph text textrm mbox item noindent par footnote tag notag nonumber intertext medskip
    bigskip smallskip centering hline newcommand renewcommand DeclareMathOperator operatorname left right
    middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr frac dfrac tfrac sqrt sum prod
    int iint iiint oint lim limsup liminf sup inf max min arg det dim exp log ln lg sin cos tan cot sec
    csc sinh cosh tanh coth arcsin arccos arctan arcsinh gcd ker Pr hom deg operatornamewithlimits
    underset overset stackrel substack underbrace overbrace underline overline widehat widetilde hat tilde
    bar vec dot ddot check breve acute grave mathbb mathbf mathrm mathcal mathfrak mathsf mathit mathscr
    mathop mathbin mathrel mathord boldsymbol boxed cdot cdots ldots dots vdots ddots times div pm mp ast
    star circ bullet oplus otimes odot cup cap setminus in notin ni subset subseteq supset supseteq
    emptyset varnothing forall exists neg lnot land lor wedge vee to rightarrow leftarrow Rightarrow
    Leftarrow leftrightarrow Leftrightarrow longrightarrow longleftarrow Longrightarrow mapsto longmapsto
    iff implies uparrow downarrow xrightarrow xleftarrow leq le geq ge neq ne ll gg approx sim simeq cong
    equiv propto mid nmid parallel perp doteq asymp prec succ lesssim gtrsim infty partial nabla ell hbar
    Re Im aleph prime dagger top bot angle triangle square langle rangle lfloor rfloor lceil rceil lvert
    rvert lVert rVert vert Vert backslash lbrace rbrace colon limits nolimits displaystyle textstyle
    scriptstyle scriptscriptstyle quad qquad thinspace medspace negthinspace hspace vspace phantom
    vphantom hphantom smash mathstrut strut bmod pmod binom dbinom tbinom choose not alpha beta gamma
    delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho sigma
    varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi
    Omega
"""
_DISPLAYS = "equation align gather multline flalign alignat eqnarray"
_INNER = (
    "aligned gathered alignedat split cases array matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix"
)
_TEXT = """
    document itemize enumerate description tabular center quote subequations verbatim abstract proof
"""
_KNOWN = set(_COMMANDS.split())
_MATH = set(_DISPLAYS.split())
_INNER_MATH = set(_INNER.split())
_ENVIRONMENTS = _MATH | _INNER_MATH | set(_TEXT.split())
_ALIGNED = (_MATH | _INNER_MATH | {"tabular"}) - {"equation", "gather", "multline", "gathered"}
_TEXT_ARGUMENT = {"text", "textrm", "mbox", "textbf", "textit", "texttt", "emph", "intertext", "label", "tag"}
_NAME_ARGUMENT = {"label", "ref", "eqref", "cite", "href", "url", "usepackage", "documentclass"}

_TOKEN = re.compile(r"%[^\n]*\n?|\\[A-Za-z]+\*?|\\.|\$\$|[{}$&^_#]|\s+|.", re.DOTALL)


@dataclass
class _Frame:
    """An open brace, environment or delimiter, and the scripts of the last atom in it."""

    opener: str
    math: bool
    scripts: str = ""
    wants_argument: bool = False


class _Reader:
    def __init__(self, document: str) -> None:
        defined = re.findall(r"\\(?:re)?newcommand\*?\{?\\([A-Za-z]+)", document)
        defined += re.findall(r"\\DeclareMathOperator\*?\{\\([A-Za-z]+)\}", document)
        self.known = _KNOWN | set(defined)
        self.document = document
        self.position = 0
        self.stack = [_Frame("the document", False)]

    @property
    def top(self) -> _Frame:
        return self.stack[-1]

    def fail(self, message: str) -> None:
        line = self.document.count("\n", 0, self.position) + 1
        raise LatexError(f"line {line}: {message}")

    def next(self) -> str:
        match = _TOKEN.match(self.document, self.position)
        if match is None:
            return ""
        self.position = match.end()
        return match.group()

    def argument(self) -> str:
        """Read ``{...}`` as raw text."""
        match = re.compile(r"\s*\{([^{}]*)\}").match(self.document, self.position)
        if match is None:
            self.fail("an argument in braces is missing")
            return ""
        self.position = match.end()
        return match.group(1)

    def push(self, opener: str, *, math: bool) -> None:
        self.atom()
        self.stack.append(_Frame(opener, math))

    def pop(self, opener: str, closer: str) -> None:
        if self.top.opener != opener:
            self.fail(f"{closer} closes {self.top.opener}")
        if self.top.wants_argument:
            self.fail(f"a script has no argument before {closer}")
        self.stack.pop()

    def atom(self) -> None:
        """Note a symbol or a group: the argument of a script, or a new base for scripts."""
        if self.top.wants_argument:
            self.top.wants_argument = False
        else:
            self.top.scripts = ""

    def read(self) -> None:
        while token := self.next():
            if token.isspace() or token.startswith("%"):
                continue
            if token.startswith("\\"):
                self.command(token[1:])
            elif token == "{":
                self.push("{", math=self.top.math)
            elif token == "}":
                self.pop("{", "}")
            elif token in ("$", "$$"):
                self.dollar(token)
            elif token in "^_":
                self.script(token)
            elif token == "&":
                if not (self.top.opener.startswith("begin ") and self.top.opener[6:] in _ALIGNED):
                    self.fail("& outside an alignment")
                self.top.scripts = ""
            elif token == "#":
                self.fail("# outside a definition")
            elif token != "'":
                self.atom()
        if len(self.stack) > 1:
            self.fail(f"{self.top.opener} is never closed")

    def dollar(self, token: str) -> None:
        if self.top.opener == token:
            self.pop(token, token)
        elif self.top.math:
            self.fail(f"{token} closes {self.top.opener}")
        else:
            self.push(token, math=True)

    def script(self, token: str) -> None:
        if not self.top.math:
            self.fail(f"{token} outside mathematics")
        if self.top.wants_argument:
            self.fail(f"{token} where a script's argument should be")
        if token in self.top.scripts:
            self.fail("double " + ("superscript" if token == "^" else "subscript"))
        self.top.scripts += token
        self.top.wants_argument = True

    def command(self, name: str) -> None:
        if not name[:1].isalpha():
            self.symbol(name)
            return
        name = name.rstrip("*")
        if name not in self.known:
            self.fail(f"unknown command \\{name}")
        if name == "begin":
            self.begin()
        elif name == "end":
            self.end()
        elif name in ("newcommand", "renewcommand", "DeclareMathOperator"):
            self.definition()
        elif name == "left":
            self.next()  # the delimiter
            self.push(r"\left", math=True)
        elif name == "right":
            self.pop(r"\left", r"\right")
            delimiter = self.next()
            if delimiter in ("", "}", "&", "$") or delimiter.isspace():
                self.fail(r"\right has no delimiter")
        elif name in _NAME_ARGUMENT:
            match = re.compile(r"\[[^\]]*\]").match(self.document, self.position)
            self.position = match.end() if match else self.position
            self.argument()
        elif name in _TEXT_ARGUMENT:
            if self.next() != "{":
                self.fail(f"\\{name} has no argument in braces")
            self.push("{", math=False)
        elif name not in ("limits", "nolimits"):
            self.atom()

    def symbol(self, name: str) -> None:
        if name in "([":
            if self.top.math:
                self.fail(f"\\{name} inside mathematics")
            self.push("\\" + name, math=True)
        elif name in ")]":
            self.pop("\\" + {")": "(", "]": "["}[name], "\\" + name)
        elif name in "{}|%&_#$":
            self.atom()
        elif name in "^~" and not self.top.math:  # an accent in text
            self.argument()
        elif name == "\\":
            self.top.scripts = ""
        elif name not in ",;:!> -/":
            self.fail(f"unknown command \\{name}")

    def begin(self) -> None:
        name = self.argument().rstrip("*")
        if name not in _ENVIRONMENTS:
            self.fail(f"unknown environment {name}")
        if name in _MATH and self.top.math:
            self.fail(f"{name} inside mathematics")
        if name in _INNER_MATH and not self.top.math:
            self.fail(f"{name} outside mathematics")
        self.push(f"begin {name}", math=self.top.math or name in _MATH)
        if name in ("array", "tabular", "alignat", "alignedat"):
            self.argument()

    def end(self) -> None:
        name = self.argument().rstrip("*")
        self.pop(f"begin {name}", f"\\end{{{name}}}")

    def definition(self) -> None:
        r"""Skip ``\newcommand{\name}[1]{...}``."""
        pattern = re.compile(r"\s*(\{\\[A-Za-z]+\}|\\[A-Za-z]+)\s*(\[[0-9]\])?\s*\{")
        match = pattern.match(self.document, self.position)
        if match is None:
            self.fail("a definition that cannot be read")
            return
        self.position, depth = match.end(), 1
        while depth:
            token = self.next()
            if not token:
                self.fail("a definition is never closed")
            depth += {"{": 1, "}": -1}.get(token, 0)
