// Package cli is the command line: it reads arguments, calls what it was given, and ends in an exit code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/raftmetrics/raftmetrics/domain/fault"
)

// Exit codes of the program.
const (
	ExitStopped = 0 // did what it was asked to
	ExitFailed  = 1 // tried and failed
	ExitUsage   = 2 // wrong arguments or configuration
)

// Option is a setting of the server: an environment variable and the flag of the same name.
type Option struct {
	Name    string // as the environment variable: DATA_DIR; the flag is --data-dir
	Default string
	Help    string
}

func (o Option) flag() string {
	return strings.ToLower(strings.ReplaceAll(o.Name, "_", "-"))
}

// Limit is a bound on what requests may ask of the server.
type Limit struct {
	What string
	Most string
	Over string // what is answered over it: status and code
}

// Program is what the commands do. The functions get the flags that were given, by option name, and
// return an error of kind Invalid for what is the user's to mend.
type Program struct {
	Options []Option
	Limits  []Limit // shown below the options of what serves
	Serve   func(ctx context.Context, flags map[string]string) error
	Health  func(ctx context.Context, flags map[string]string, out io.Writer) error
	Version string
}

// errUsage marks mistakes in the arguments themselves.
var errUsage = errors.New("wrong usage")

// Run executes args (without the program's name) and returns the exit code. What the user asked to see
// goes to stdout, complaints to stderr.
func Run(ctx context.Context, args []string, program Program, stdout, stderr io.Writer) int {
	root := program.root() //nolint:contextcheck // the commands take their context when they are executed
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitStopped
	}
	_, _ = fmt.Fprintln(stderr, "raftmetrics:", err)
	if errors.Is(err, errUsage) || fault.KindOf(err) == fault.Invalid {
		_, _ = fmt.Fprintln(stderr, "raftmetrics --help lists the commands and options")
		return ExitUsage
	}
	return ExitFailed
}

func (p Program) root() *cobra.Command {
	root := p.command("raftmetrics", "a metrics store that loses nothing", "Without a command raftmetrics starts the server, as serve does.", p.Serve)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if help(cmd, args); cmd == root || cmd.Name() == serveName {
			p.printLimits(cmd.OutOrStdout())
		}
	})
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(
		p.command(serveName, "start the server", "", p.Serve),
		p.command("health", "ask the local server how it is: exit code 0 when it is healthy", "", func(ctx context.Context, flags map[string]string) error {
			return p.Health(ctx, flags, root.OutOrStdout())
		}),
		&cobra.Command{
			Use: "version", Short: "print what was built", Args: noArguments,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), p.Version)
				return err
			},
		},
	)
	return root
}

const serveName = "serve"

// printLimits shows the limits as a table.
func (p Program) printLimits(out io.Writer) {
	_, _ = fmt.Fprintln(out, "\nLimits, and the status and error code of what goes over them:")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range p.Limits {
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\n", l.What, l.Most, l.Over)
	}
	_ = table.Flush() // a reader of help that went away misses nothing
}

// command makes a command that takes every option as a flag.
func (p Program) command(use, short, long string, run func(context.Context, map[string]string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArguments}
	cmd.Long = "raftmetrics: " + short + ". " + long + "\n\n" +
		"Every option is a flag, an environment variable (the name in capitals) or a line of CONFIG_FILE;\n" +
		"a flag wins over a variable, a variable over the file. An empty value counts as unset."
	values := make([]string, len(p.Options))
	for i, o := range p.Options {
		cmd.Flags().StringVar(&values[i], o.flag(), "", o.usage())
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		flags := map[string]string{}
		for i, o := range p.Options {
			if cmd.Flags().Changed(o.flag()) {
				flags[o.Name] = values[i]
			}
		}
		return run(cmd.Context(), flags)
	}
	return cmd
}

// usage is the option's line in --help.
func (o Option) usage() string {
	text := o.Name + ": " + o.Help
	if o.Default != "" {
		text += " (default " + o.Default + ")"
	}
	return text
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("unknown command or argument %q for %s", args[0], cmd.Name()))
	}
	return nil
}

func usage(err error) error { return fmt.Errorf("%w: %w", errUsage, err) }
