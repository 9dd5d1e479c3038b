package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gantry/internal/platform/config"
)

// help prints what a command is for, its arguments, its flags by group, and the commands below it.
func (l *commandLine) help(c *cobra.Command) {
	n, p := l.nodes[c], &helpPage{width: l.width()}
	p.line("Usage: " + c.CommandPath() + usage(c, n))
	p.paragraph(c.Short)
	p.paragraph(n.detail)
	var args []entry
	for _, s := range n.settings {
		if s.Arg {
			args = append(args, entry{argument(s), s.Help})
		}
	}
	p.section("Arguments:", args)
	l.flagSections(c, n, p)
	l.commandSections(c, p)
	if c == l.root {
		p.paragraph(`Run "gantry <command> --help" for more information on a command.`)
	}
	l.io.printf("%s", p.text.String())
}

// width is the terminal's, or 80 columns.
func (l *commandLine) width() int {
	const columns = 80
	if f, ok := l.io.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return columns
}

func usage(c *cobra.Command, n *node) string {
	var b strings.Builder
	if c.HasSubCommands() {
		b.WriteString(" <command>")
	}
	for _, s := range n.settings {
		switch {
		case s.Arg:
			b.WriteString(" " + argument(s))
		case s.Required:
			b.WriteString(" " + s.Flag() + "=" + s.Placeholder)
		}
	}
	return b.String() + " [flags]"
}

func argument(s *config.Setting) string {
	if s.Optional {
		return "[" + s.Flag() + "]"
	}
	return s.Flag()
}

// flagSections prints the flags that every command has, the command's own, and then each group.
func (l *commandLine) flagSections(c *cobra.Command, n *node, p *helpPage) {
	all := []entry{{"-h, --help", "Show context-sensitive help."}}
	for _, s := range l.nodes[l.root].settings {
		all = append(all, entry{"    " + flagForm(s), flagHelp(s)})
	}
	var titles []string
	groups := map[string][]entry{}
	for _, s := range n.settings {
		switch {
		case s.Arg || s.Hidden || c == l.root:
		case s.Group == "":
			if len(groups[""]) == 0 {
				groups[""] = []entry{{}}
			}
			short := "    "
			if s.Short != "" {
				short = "-" + s.Short + ", "
			}
			groups[""] = append(groups[""], entry{short + flagForm(s), flagHelp(s)})
		default:
			if groups[s.Group] == nil {
				titles = append(titles, s.Group)
			}
			groups[s.Group] = append(groups[s.Group], entry{flagForm(s), flagHelp(s)})
		}
	}
	p.section("Flags:", append(all, groups[""]...))
	for _, t := range titles {
		p.section(t, groups[t])
	}
}

func flagForm(s *config.Setting) string {
	if s.Placeholder == "" {
		return s.Flag()
	}
	return s.Flag() + "=" + s.Placeholder
}

// flagHelp is the help with the setting's variables.
func flagHelp(s *config.Setting) string {
	if len(s.Envs) == 0 {
		return s.Help
	}
	return strings.TrimSuffix(s.Help, ".") + " ($" + strings.Join(s.Envs, ", $") + ")."
}

// commandSections prints the commands below one that do something, by group.
func (l *commandLine) commandSections(c *cobra.Command, p *helpPage) {
	var titles []string
	groups := map[string][]entry{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, below := range l.nodes[c].below {
			if n := l.nodes[below]; n.run != nil {
				if !slices.Contains(titles, n.group) {
					titles = append(titles, n.group)
				}
				path := strings.TrimPrefix(below.CommandPath(), "gantry ")
				groups[n.group] = append(groups[n.group], entry{path, below.Short})
			}
			walk(below)
		}
	}
	walk(c)
	for _, t := range titles {
		p.section(t, groups[t])
	}
}

// entry is a row of help. An empty one is an empty line.
type entry struct{ left, right string }

// helpPage is text in the making.
type helpPage struct {
	text  strings.Builder
	width int
}

func (p *helpPage) line(s string) { p.text.WriteString(strings.TrimRight(s, " ") + "\n") }

// paragraph wraps text; a line that begins with spaces stays as it is.
func (p *helpPage) paragraph(text string) {
	if text == "" {
		return
	}
	p.line("")
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, " ") {
			p.line(line)
			continue
		}
		for _, part := range wrap(line, p.width) {
			p.line(part)
		}
	}
}

func (p *helpPage) section(title string, rows []entry) {
	if len(rows) == 0 {
		return
	}
	const indent, gap, least = 2, 4, 20
	left := 0
	for _, r := range rows {
		left = max(left, len([]rune(r.left)))
	}
	p.line("")
	p.line(title)
	for _, r := range rows {
		for i, part := range wrap(r.right, max(p.width-indent-left-gap, least)) {
			if i > 0 {
				r.left = ""
			}
			p.line(fmt.Sprintf("%*s%-*s%*s%s", indent, "", left, r.left, gap, "", part))
		}
	}
}

// wrap breaks text between words. No text is one empty line.
func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len([]rune(*last))+1+len([]rune(word)) > width:
			lines = append(lines, word)
		default:
			*last += " " + word
		}
	}
	return lines
}
