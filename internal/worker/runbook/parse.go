package runbook

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// Block is one script found in a prompt.
type Block struct {
	Script string
}

// Title is the first line that isn't empty, at most 200 characters long.
func (b Block) Title() string {
	for line := range strings.Lines(b.Script) {
		line = strings.ToValidUTF8(strings.TrimSpace(line), "\uFFFD")
		if line == "" {
			continue
		}
		if utf8.RuneCountInString(line) > 200 {
			return string([]rune(line)[:200]) + "…"
		}
		return line
	}
	return "(empty block)"
}

// markdown builds the parser on first use: starting up is on the way of every session. It knows blocks only, for nothing
// inside a paragraph can hold a script.
var markdown = sync.OnceValue(func() parser.Parser {
	return parser.NewParser(parser.WithBlockParsers(parser.DefaultBlockParsers()...))
})

// Parse gives the fenced code blocks of a CommonMark text whose info string begins with the word sh, in the order of the text,
// wherever they stand (in a list, in a quotation). Blocks marked bash, shell or anything else are not scripts. A fence that
// is never closed reaches to the end of what holds it, as CommonMark has it.
func Parse(markdownText string) []Block {
	// A text typed into a browser has carriage returns, which /bin/sh would take for part of each line's last word.
	source := []byte(strings.ReplaceAll(markdownText, "\r\n", "\n"))
	doc := markdown().Parse(text.NewReader(source))
	var blocks []Block
	// The walker below returns no error.
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		fence, ok := n.(*ast.FencedCodeBlock)
		if !ok || !entering {
			return ast.WalkContinue, nil
		}
		if isShell(fence, source) {
			blocks = append(blocks, Block{Script: content(fence, source)})
		}
		return ast.WalkSkipChildren, nil
	})
	return blocks
}

func isShell(fence *ast.FencedCodeBlock, source []byte) bool {
	if fence.Info == nil {
		return false
	}
	words := strings.Fields(string(fence.Info.Segment.Value(source)))
	return len(words) > 0 && words[0] == "sh"
}

func content(fence *ast.FencedCodeBlock, source []byte) string {
	var sb strings.Builder
	lines := fence.Lines()
	for i := range lines.Len() {
		line := lines.At(i)
		sb.Write(line.Value(source))
	}
	return sb.String()
}
