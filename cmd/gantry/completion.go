package main

import (
	"context"
	"os"
	"path/filepath"
)

type completionCmd struct {
	Shell string `arg:"" optional:"" enum:"bash,zsh,fish" help:"The name of the shell you are using"`
	Code  bool   `short:"c" help:"Generate the initialization code"`
}

// Help is shown below the first line.
func (*completionCmd) Help() string {
	return "Displays a command that you need to execute in order to activate tab completion for this program.\n\n" +
		"For permanent activation, paste the command in your shell's init file.\n\n" +
		"If no shell is specified, it is your login shell."
}

// initFiles are where a shell looks at its start, by shell.
var initFiles = map[string]string{"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/config.fish"}

// Run prints the script, or how to load it. The script asks the program itself, so it can't go stale.
func (c *completionCmd) Run(_ context.Context, io *stdio) error {
	shell := c.Shell
	if shell == "" {
		shell = filepath.Base(os.Getenv("SHELL"))
	}
	if initFiles[shell] == "" {
		shell = "bash"
	}
	if !c.Code {
		load := "source <(gantry completion -c " + shell + ")"
		if shell == "fish" {
			load = "gantry completion -c fish | source"
		}
		io.printf("Execute the following command to activate tab completion for gantry in %s:\n\n    %s\n\n"+
			"It takes effect for your current shell only; for every one, paste it into %s.\n", shell, load, initFiles[shell])
		return nil
	}
	root := newCommandLine(io).root
	switch shell {
	case "zsh":
		return root.GenZshCompletion(io.out)
	case "fish":
		return root.GenFishCompletion(io.out, true)
	}
	return root.GenBashCompletionV2(io.out, true)
}
