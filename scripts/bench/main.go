// Command bench measures tunhook against what it must not be much slower than, and against what people use today.
//
// Every row is a ratio within one run: each round measures both sides, one right after the other and in alternating order,
// and the ratio is the median of the rounds' own ratios. So a busy machine makes a row noisy, which its quartiles show, but
// favours neither side. A row that is not at most its bound is broken, and the exit status is 1 then.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	tunhook := flag.String("tunhook", "./tunhook", "the tunhook `PROGRAM` to measure, stripped")
	rounds := flag.Int("rounds", 200, "`ROUNDS` of the quick rows; slow ones have a part of them")
	only := flag.String("only", "", "measure only these `GROUPS` of rows, separated by commas: start, ready, nothing, crowd, records, tunnels, today, listener, idle, size")
	check := flag.Bool("check", true, "exit with status 1 when a bound is broken")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a reader that leaves, as "| head" does, must not prevent the cleaning up
	broken, err := measure(ctx, *tunhook, *rounds, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	for _, bound := range broken {
		fmt.Fprintln(os.Stderr, "bench: broken:", bound)
	}
	if len(broken) > 0 && *check {
		os.Exit(1)
	}
}

// measure prints the table, or only those groups of its rows, and tells which bounds are broken.
func measure(ctx context.Context, tunhook string, rounds int, only string) (broken []string, err error) {
	b, err := newBench(ctx, tunhook, rounds)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	b.table.head()
	for _, group := range []struct {
		name string
		rows func() error
	}{
		{"start", b.startRow},
		{"ready", b.signedInRow},
		{"nothing", b.nothingToDoRows},
		{"crowd", b.crowdRows},
		{"records", b.recordRows},
		{"tunnels", b.tunnelRows},
		{"today", b.todayRows},
		{"listener", b.listenerRows},
		{"idle", b.idleRows},
		{"size", b.sizeRow},
	} {
		if only != "" && !slices.Contains(strings.Split(only, ","), group.name) {
			continue
		}
		if err := group.rows(); err != nil {
			return b.table.broken, err
		}
	}
	b.table.legend()
	return b.table.broken, nil
}
