package main

import (
	"encoding/json"
	"errors"
	"io"

	"cloister/harness/internal/script"
)

// jsonReport prints one object for each script.
type jsonReport struct {
	enc *json.Encoder
	err error
}

func newJSONReport(w io.Writer) *jsonReport {
	j := &jsonReport{enc: json.NewEncoder(w)}
	j.enc.SetEscapeHTML(false)
	return j
}

// jsonVerdict is a line of --json; its names are a contract.
type jsonVerdict struct {
	Script      string `json:"script"`
	Result      string `json:"result"` // pass, fail, skip, error
	Calls       int    `json:"calls"`
	Skipped     int    `json:"skipped"`
	Unsupported int    `json:"unsupported"`
	Marked      int    `json:"marked"` // lines for other systems
	Millis      int64  `json:"ms"`
	Line        int    `json:"line,omitempty"`
	Column      int    `json:"column,omitempty"` // in bytes, from 1
	Message     string `json:"message,omitempty"`
	Call        string `json:"call,omitempty"`
	Wanted      string `json:"wanted,omitempty"`
	Got         string `json:"got,omitempty"`
	Reason      string `json:"reason,omitempty"` // of a skip or an error
	Host        string `json:"host,omitempty"`   // with --keep
}

func (j *jsonReport) begin(int) {}

func (j *jsonReport) script(v verdict) {
	o := jsonVerdict{
		Script: v.path, Result: "pass", Calls: v.Calls, Skipped: v.Skipped, Unsupported: v.Unsupported, Marked: v.Marked,
		Millis: v.took.Milliseconds(), Reason: v.SkipReason, Host: v.host,
	}
	switch {
	case v.err != nil:
		o.Result, o.Reason = "error", v.err.Error()
		if bad, ok := errors.AsType[*script.Error](v.err); ok {
			o.Line, o.Column, o.Message = bad.Pos.Line, bad.Pos.Col, bad.Msg
		}
	case v.Failure != nil:
		o.Result = "fail"
		o.Line, o.Column, o.Message = v.Failure.Pos.Line, v.Failure.Pos.Col, v.Failure.Msg
		o.Call, o.Wanted, o.Got = v.Failure.Call, v.Failure.Wanted, v.Failure.Got
	case v.SkipReason != "":
		o.Result = "skip"
	}
	j.err = errors.Join(j.err, j.enc.Encode(o))
}

func (j *jsonReport) end() error { return j.err }
