package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// referenceCodes is RAID Manager's table of error codes: the value, then the names that have it.
const referenceCodes = `
131 EW_INVOPT EW_INVOPA EW_REQCMD EW_MAXARG EW_LNGARG
199 EX_CTXCHK
200 EX_EACCES
202 EX_ENAUTH
203 EX_EPPERM
204 EX_ENQCLP
205 EX_ENOOBJ
206 EX_ENOPOL
207 EX_ESPERM
208 EX_EPRORT
209 EX_ESVOLD
210 EX_ENOSUP
211 EX_ERPERM
212 EX_ENQSIZ
213 EX_ENPERM
214 EX_ENQCTG
215 EX_ENXCTG
216 EX_EXTCTG
217 EX_ENOCTG
218 EX_ENQSER
219 EX_ENOUNT
220 EX_INVMUN
221 EX_CMDRJE
222 EX_INVVOL
223 EX_VOLCRE
224 EX_VOLCUE
225 EX_VOLCUR
226 EX_INVRCD
227 EX_ENLDEV
228 EX_INVSTP
229 EX_INCSTG
230 EX_UNWCMD
231 EX_ESTMON
232 EX_EWSLTO
233 EX_EWSTOT
234 EX_EWSUSE
235 EX_EVOLCE
236 EX_ENQVOL
237 EX_CMDIOE
238 EX_UNWCOD
239 EX_ENOGRP
240 EX_INVCMD
241 EX_INVMOD
242 EX_ENORMT
243 EX_ENAMLG
244 EX_ERANGE
245 EX_ENOMEM
246 EX_ENODEV
247 EX_ENOENT
248 EX_OPTINV
249 EX_INVNAM
250 EX_ATTDBG
251 EX_ATTHOR
252 EX_UNWOPT
253 EX_INVARG
254 EX_REQARG
255 EX_COMERR
`

func TestRaidCodesAreThoseOfTheReference(t *testing.T) {
	want := map[string]int{}
	for line := range strings.Lines(referenceCodes) {
		var value int
		for i, f := range strings.Fields(line) {
			if i == 0 {
				fmt.Sscan(f, &value)
				continue
			}
			want[f] = value
		}
	}
	codes := []raidCode{
		ewREQCMD, ewMAXARG, ewLNGARG, exEACCES, exENOSUP, exENQSER, exINVMUN, exCMDRJE, exINVVOL, exINVSTP, exINCSTG, exEWSTOT, exEWSUSE, exEVOLCE,
		exENQVOL, exCMDIOE, exENOGRP, exINVCMD, exINVMOD, exENORMT, exENODEV, exOPTINV, exINVNAM, exATTHOR, exUNWOPT, exINVARG, exREQARG, exCOMERR,
	}
	for _, c := range codes {
		if want[c.name] != c.value {
			t.Errorf("%s is %d, the reference has %d", c.name, c.value, want[c.name])
		}
	}
	for _, row := range raidErrnos {
		if row.code.value <= 127 {
			t.Errorf("%v becomes %d, which is no error", row.errno, row.code.value)
		}
	}
}

func TestCodeOf(t *testing.T) {
	refusal := func(errno error) error {
		return fmt.Errorf("more: %w", &refusedError{sentence: "no", errno: errno})
	}
	for _, row := range []struct {
		err  error
		want raidCode
	}{
		{refusal(unix.EBUSY), exCMDRJE},
		{refusal(unix.EHOSTUNREACH), exENORMT},
		{refusal(unix.ETIMEDOUT), exEWSTOT},
		{refusal(unix.EXDEV), exCMDIOE},
		{&os.PathError{Op: "open", Path: "x", Err: unix.ENOTCONN}, exATTHOR},
		{errors.New("anything"), exCMDIOE},
		{context.Canceled, exCOMERR},
		{fmt.Errorf("more: %w", raidf(exENOGRP, "no group")), exENOGRP},
		{within("option -g", raidf(exENOGRP, "no group"), exINVARG), exENOGRP},
		{within("option -g", errors.New("bad"), exINVARG), exINVARG},
	} {
		if got := codeOf(row.err, exCMDIOE); got != row.want {
			t.Errorf("%v: %s, want %s", row.err, got.name, row.want.name)
		}
	}
	if got := within("option -g", raidf(exENOGRP, "no group"), exINVARG).Error(); got != "[EX_ENOGRP] option -g: no group" {
		t.Errorf("%q", got)
	}
	if coded(nil, exCMDIOE) != nil {
		t.Error("nothing became an error")
	}
}
