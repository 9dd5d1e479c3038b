package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"gantry/internal/platform/clock"
)

// turns asks several servers in turn, a few requests each over one connection kept alive: what else the machine does for a while falls
// on all of them alike, where loads that follow one another each have a different machine.
type turns struct {
	Sides []side
	Time  time.Duration // of each side, about
}

type side struct{ Addr, Request string }

// inTurn is how many requests a side gets before the next one's turn: enough that what a server left in the processor's caches counts.
const inTurn = 8

// turnsMain is the process that asks.
func turnsMain(ctx context.Context) error {
	var t turns
	if err := task(&t); err != nil {
		return err
	}
	got, err := t.run(ctx)
	if err != nil {
		return answer(took{Error: err.Error()})
	}
	return answer(took{P10: got})
}

// took is what turns found: the time of the tenth fastest of a hundred answers of each side, in milliseconds.
type took struct {
	P10   []float64
	Error string
}

func (t turns) run(ctx context.Context) ([]float64, error) {
	clients, all := make([]*conn, len(t.Sides)), make([][]float64, len(t.Sides))
	for i, s := range t.Sides {
		var err error
		if clients[i], err = dial(ctx, s.Addr); err != nil {
			return nil, err
		}
		defer clients[i].close()
	}
	var c clock.Clock
	for begun := c.Now(); c.Since(begun) < t.Time*time.Duration(len(t.Sides)) || len(all[0]) == 0; {
		for i, s := range t.Sides {
			for range inTurn {
				ms, err := clients[i].ask(s.Request)
				if err != nil {
					return nil, err
				}
				all[i] = append(all[i], ms)
			}
		}
	}
	out := make([]float64, len(all))
	for i, ms := range all {
		slices.Sort(ms)
		out[i] = quantile(ms, 0.1)
	}
	return out, nil
}

// inTurns asks the sides in turn.
func (b *bench) inTurns(ctx context.Context, t turns) ([]float64, error) {
	var out took
	if err := b.ask(ctx, "turns", t, &out); err != nil {
		return nil, err
	}
	if out.Error != "" {
		return nil, errors.New(out.Error)
	}
	return out.P10, nil
}
