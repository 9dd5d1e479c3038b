package runbook_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gantry/internal/worker/runbook"
)

func scripts(blocks []runbook.Block) []string {
	var out []string
	for _, b := range blocks {
		out = append(out, b.Script)
	}
	return out
}

func TestOnlyFencedShBlocksAreScripts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"none":                {"Please fix the bug.", nil},
		"one":                 {"Do:\n```sh\nmake\nmake test\n```\nthanks", []string{"make\nmake test\n"}},
		"in order":            {"```sh\na\n```\n~~~ sh\nb\n~~~\n", []string{"a\n", "b\n"}},
		"more words":          {"```sh title=\"x\"\na\n```", []string{"a\n"}},
		"other languages":     {"```bash\na\n```\n```shell\nb\n```\n```\nc\n```\n```SH\nd\n```\n```sh-session\ne\n```\n```shx\nf\n```", nil},
		"indented code":       {"text\n\n    sh\n    a\n", nil},
		"inline code":         {"use `sh` and ```sh a```", nil},
		"in a list":           {"1. first\n   ```sh\n   a\n     b\n   ```\n2. second\n\n   ```sh\n   c\n   ```\n", []string{"a\n  b\n", "c\n"}},
		"in a quotation":      {"> ```sh\n> a\n> ```\n", []string{"a\n"}},
		"longer fence":        {"````sh\ncat <<E\n```\nE\n````\n", []string{"cat <<E\n```\nE\n"}},
		"shown, not meant":    {"````markdown\n```sh\nrm -rf /\n```\n````\n", nil},
		"commented out":       {"<!--\n```sh\nrm -rf /\n```\n-->\n", nil},
		"never closed":        {"```sh\na\nb", []string{"a\nb\n"}},
		"closed by its list":  {"- ```sh\n  a\nb\n", []string{"a\n"}},
		"empty":               {"```sh\n```", []string{""}},
		"carriage returns":    {"```sh\r\na\r\n```\r\n", []string{"a\n"}},
		"tabs are kept":       {"```sh\n\ta\n```", []string{"\ta\n"}},
		"a fence too short":   {"``sh\na\n``", nil},
		"indented fence":      {"  ```sh\n  a\n   b\n  ```", []string{"a\n b\n"}},
		"info after a space":  {"```   sh\na\n```", []string{"a\n"}},
		"info with backslash": {"```\\sh\na\n```", nil},
	} {
		require.Equal(t, c.want, scripts(runbook.Parse(c.text)), name)
	}
}

func TestATitleIsTheFirstLineThatSaysSomething(t *testing.T) {
	t.Parallel()
	require.Equal(t, "make test", runbook.Block{Script: "\n  \n  make test  \nmore"}.Title())
	require.Equal(t, "(empty block)", runbook.Block{Script: " \n"}.Title())
	require.Equal(t, 201, utf8.RuneCountInString(runbook.Block{Script: strings.Repeat("ü", 500)}.Title()))
}

func TestAScriptComesBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.StringMatching(`[ -_a-z{}|]{0,20}`), 0, 5).Draw(t, "scripts")
		var sb strings.Builder
		for i := range want {
			want[i] += "\n"
			sb.WriteString("some words\n\n```sh\n" + want[i] + "```\n\n")
		}
		if len(want) == 0 {
			want = nil
		}
		require.Equal(t, want, scripts(runbook.Parse(sb.String())))
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"```sh\na\n```", "- > 1. ```sh\n\tx", "````sh\n```\n", "<!--\n```sh\n", "\x00```sh\n\xff", "```sh\n" + strings.Repeat("> ", 50)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, b := range runbook.Parse(s) {
			require.Contains(t, s, "sh")
			require.True(t, utf8.ValidString(b.Title()))
			require.LessOrEqual(t, len(b.Script), 4*len(s), "a script is part of its text; a tab may become up to four spaces")
		}
	})
}
