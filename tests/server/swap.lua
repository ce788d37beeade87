-- wrk asks for the same passengers over and over, notes each distinct answer, and how often an answer was none.
wrk.method = "POST"
wrk.headers["Content-Type"] = "text/csv"
wrk.body = io.open(os.getenv("BODY"), "rb"):read("*a")

local threads, seen = {}, {}
answers, failed = "", 0

function setup(thread)
  table.insert(threads, thread)
end

function response(status, _, text)
  if status ~= 200 then
    failed = failed + 1
  elseif not seen[text] then
    seen[text] = true
    answers = answers .. text .. "\n"
  end
end

function done(summary)
  local file = io.open(os.getenv("ANSWERS"), "wb")
  local errors = summary.errors
  local all = errors.connect + errors.read + errors.write + errors.timeout
  for _, thread in ipairs(threads) do
    all = all + thread:get("failed")
    file:write(thread:get("answers"))
  end
  file:close()
  print("requests " .. summary.requests .. " failed " .. all)
end
