package replica

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestMuteReturns: a secondary that was mute comes back while a command is under way, some moments behind it or long after. Whatever became of the
// command, no pair is stuck, nothing is lost, and what differs is marked.
func TestMuteReturns(t *testing.T) {
	commands := map[string]func(ctx context.Context, g *simGroup) error{
		"suspend": func(ctx context.Context, g *simGroup) error {
			return g.home.site.SuspendGroup(ctx, g.master(), SuspendOptions{})
		},
		"purge": func(ctx context.Context, g *simGroup) error {
			return g.home.site.SuspendPair(ctx, "x", SuspendOptions{Purge: true})
		},
		"delete": func(ctx context.Context, g *simGroup) error {
			return g.home.site.DeletePair(ctx, "x", DeleteOptions{})
		},
		"takeover": func(ctx context.Context, g *simGroup) error {
			return g.away().site.TakeoverGroup(ctx, g.restored(), TakeoverOptions{})
		},
		"resync": func(ctx context.Context, g *simGroup) error {
			if err := g.home.site.SuspendGroup(ctx, g.master(), SuspendOptions{Purge: true}); err != nil {
				return err
			}
			return g.home.site.ResyncGroup(ctx, g.master())
		},
	}
	for name, do := range commands {
		for _, back := range []time.Duration{0, 20 * time.Millisecond, 12 * time.Second, 3 * time.Minute} {
			t.Run(fmt.Sprintf("%s_%v", name, back), func(t *testing.T) {
				atLength(t, back == 12*time.Second)
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1)
					w.turns = name == "takeover"
					g, tokyo, osaka := w.groups[0], w.sites[0], w.sites[1]
					osaka.disks.flushes.Store(int64(activeWatch + 4*time.Second + back)) // the flush that is under way ends then
					stop := w.trickle(g)
					tokyo.outage(g.master()).awaitDown(2 * activeWatch)
					if w.turns {
						stop() // hosts of a primary that hears of a takeover are refused
					}
					ended := make(chan error, 1)
					go func() { ended <- do(context.Background(), g) }()
					osaka.disks.flushes.Store(0)
					time.Sleep(back)
					stop()
					t.Logf("the command: %v", <-ended)
					w.look()
					w.settle()
					w.finish()
				})
			})
		}
	}
}
