"""A small table in Markdown, CSV and LaTeX, against the expected text."""

import math

from mtl_jax.report import render

TABLE = render.Table(
    name="tiny",
    title="Errors & signs",
    caption=("|predicted - reference| in Gy, p < 0.05.", "† better: 50 % of D_0.1cc."),
    columns=(
        render.Column("ROI"),
        render.Column("Multi", "model"),
        render.Column("mean | map", "model"),
        render.Column("n"),
    ),
    rows=(
        (
            render.Cell("Left_Parotid"),
            render.Cell(1.23456, 0.5, best=True, mark="†"),
            render.Cell(note="no patient has it"),
            render.Cell(3, form="d"),
        ),
        (
            render.Cell("Average"),
            render.Cell(-0.0001),
            render.Cell(2.0, math.nan, form=".2f"),
            render.Cell(""),
        ),
    ),
    rules=(1,),
)


def test_markdown():
    assert render.markdown(TABLE) == (
        "### Errors & signs\n"
        "\n"
        "| ROI | model: Multi | model: mean \\| map | n |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| Left_Parotid | **1.235 ± 0.500**† | no patient has it | 3 |\n"
        "| Average | 0.000 | 2.00 |  |\n"
        "\n"
        "\\|predicted - reference\\| in Gy, p &lt; 0.05. † better: 50 % of D_0.1cc.\n"
    )


def test_csv():
    assert render.csv_text(TABLE) == (
        "ROI,model: Multi,model: Multi spread,model: Multi mark,"
        "model: mean | map,model: mean | map spread,model: mean | map note,n\n"
        "Left_Parotid,1.23456,0.5,†,,,no patient has it,3\n"
        "Average,-0.0001,,,2.0,,,\n"
    )


def test_latex():
    assert render.latex(TABLE) == (
        "\\begin{table}\n"
        "\\centering\\scriptsize\\setlength{\\tabcolsep}{3pt}\n"
        "\\caption{Errors \\& signs. $|$predicted - reference$|$ in Gy, p $<$ 0.05. "
        "$\\dagger$ better: 50 \\% of D\\_0.1cc.}\n"
        "\\label{tab:tiny}\n"
        "\\begin{tabular}{lrrr}\n"
        "\\toprule\n"
        " & \\multicolumn{2}{c}{model} &  \\\\\n"
        "\\cmidrule(lr){2-3}\n"
        "ROI & Multi & mean $|$ map & n \\\\\n"
        "\\midrule\n"
        "Left\\_Parotid & \\textbf{1.235 $\\pm$ 0.500}\\textsuperscript{$\\dagger$} & "
        "no patient has it & 3 \\\\\n"
        "\\midrule\n"
        "Average & 0.000 & 2.00 &  \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\end{table}\n"
    )


def test_latex_escapes_every_special_character():
    cell = render.Cell("\\ { } $ % # _ & ~ ^")
    table = render.Table("t", "", (), (render.Column("a"),), ((cell,),))
    assert (
        "\\textbackslash{} \\{ \\} \\$ \\% \\# \\_ \\& \\textasciitilde{} "
        "\\textasciicircum{} \\\\"
    ) in render.latex(table)


def test_a_cell_without_a_value_says_why():
    assert render.Cell(math.nan).text == "–"
    assert render.Cell(note="not run").text == "not run"
    assert not render.Cell(math.nan).known and render.Cell(0.0).known


def test_files_are_written_whole_and_the_same_twice(tmp_path):
    paths = render.write_all([TABLE], tmp_path / "tables")
    assert [path.name for path in paths] == ["tiny.md", "tiny.csv", "tiny.tex"]
    first = {path: path.read_bytes() for path in paths}
    render.write_all([TABLE], tmp_path / "tables")
    assert {path: path.read_bytes() for path in paths} == first
    assert sorted((tmp_path / "tables").iterdir()) == sorted(paths)
    assert first[paths[1]] == render.csv_text(TABLE).encode()
