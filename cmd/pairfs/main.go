package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	// Never undone: a second signal, as a terminal or timeout(1) may send, must not end a command that is already ending.
	ctx, _ := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(run(ctx, commandLine(os.Args), os.Stdout, os.Stderr))
}

// run parses and carries out one command line and returns the exit status. Only --help and --version leave by os.Exit.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	app := &app{ctx: ctx, stdout: stdout, stderr: stderr}
	parser, err := kong.New(&c,
		kong.Name("pairfs"),
		kong.Description("Volumes in a file system, each replicated in write order to another host."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Vars{
			"version": version(), "group_options": optionHelp("group"), "pair_options": optionHelp("pair"), "site_options": optionHelp("site"),
		},
		kong.Writers(stdout, stderr),
	)
	if err != nil {
		fmt.Fprintf(stderr, "pairfs: %v\n", err)
		return exitFailed
	}
	k, err := parser.Parse(args)
	if err == nil {
		app.mount = c.Mount
		err = k.Run(app)
	}
	if err != nil && err.Error() != "" {
		fmt.Fprintf(stderr, "pairfs: %v\n", err)
		var parse *kong.ParseError
		if errors.As(err, &parse) {
			fmt.Fprintln(stderr, "pairfs: "+flagHint(args))
		}
	}
	return exitCode(err)
}
