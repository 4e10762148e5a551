package main

import (
	"context"
	"errors"
	"time"
)

// until looks again whenever something happened at the site, and every lookEvery in any case, until look is done or the context ends. It
// returns the error of the context then.
func (s site) until(ctx context.Context, look func() (done bool, err error)) error {
	news, err := s.news()
	if err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, alive := <-news:
			if !alive {
				news = nil // the site stopped, or tried to; the next look tells which
			}
		case <-tick.C:
			if news == nil {
				if news, err = s.news(); err != nil {
					return err
				}
			}
		}
	}
}

// waitFor looks at the target until done says so, for that many seconds at most.
func (r *raidCall) waitFor(t *raidTarget, seconds int, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(r.app.ctx, time.Duration(seconds)*time.Second)
	defer cancel()
	err := t.site.until(ctx, func() (bool, error) {
		if err := t.refresh(); err != nil {
			return false, err
		}
		return done()
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return raidf(exEWSTOT, "after %d s %s", seconds, t.statuses())
	case errors.Is(err, context.Canceled):
		return raidf(exCOMERR, "interrupted: %s", t.statuses())
	}
	return attached(err)
}

// statuses says in which status the members are, for the end of a wait.
func (t *raidTarget) statuses() string {
	text := "no pair"
	for i, m := range t.members {
		switch {
		case i == 0:
			text = ""
		case i == namesShown:
			return text + ", …"
		default:
			text += ", "
		}
		text += m.name() + " is in " + m.st.get("status") + reasons(m.st)
	}
	return text
}

// namesShown is how many members a sentence names.
const namesShown = 8
