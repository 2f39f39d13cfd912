--[[ Resolves what report.md cites, for HTML, LaTeX and typst alike.

  []{metric=test.accuracy fmt=".1%"}     a value of metrics.json   (fmt: Python's format specification)
  []{run=versions.keras .code}           a value of run.json, in the typewriter face
  ![Caption](figure:loss){#fig:loss alt="..."}                     a figure of the run
  ::: {.table name=counts fmt=".3f" #tbl:counts} Caption :::       tables/counts.csv
  ::: {.table run=versions #tbl:versions} Caption :::              a part of run.json, name by name
  ::: {.table .beside run=parameters #tbl:parameters} Caption :::  on paper, the second half of its rows beside the first
  ::: {.when figure=gallery} ... :::     kept only where the run has that figure
  Figure @fig:loss, Table @tbl:counts    numbered references

fer_tools/report sends values and tables, as they are printed, on standard input. What cannot be resolved ends
pandoc with one line of JSON on standard error. Values enter the document as text elements, which pandoc's
writers escape. ]]

local data = pandoc.json.decode(io.read('a'), false)
local stringify = pandoc.utils.stringify
local section = 'front matter'
local labels = {} -- identifier -> "Figure 1", "Table 2"
local counters = { Figure = 0, Table = 0 }
local html, latex, typst = FORMAT == 'html', FORMAT == 'latex', FORMAT == 'typst'

local function fail(token, message)
  io.stderr:write(pandoc.json.encode { token = token, section = section, message = message }, '\n')
  os.exit(2)
end

---------------------------------------------------------------------------------------------------- values

-- The nothing before a value keeps "= x" or "*x" from being read as markup at the start of a line or cell.
local guard = latex and pandoc.RawInline('latex', '{}') or typst and pandoc.RawInline('typst', '#[];')
local may_break = latex and pandoc.RawInline('latex', '\\allowbreak{}')
  or typst and pandoc.RawInline('typst', '#h(0pt);')

--- Text as inline elements; long words may break after "/" and "_" and every 32 characters.
local function inlines(text, code)
  local result = pandoc.Inlines { guard or nil }
  local make = code and pandoc.Code or pandoc.Str
  for word in text:gmatch '[^ ]+' do
    if #result > 1 or (html and #result > 0) then result:insert(pandoc.Space()) end
    local piece, length = '', 0
    for _, c in utf8.codes(word) do
      local character = utf8.char(c)
      piece, length = piece .. character, length + 1
      if may_break and #word > 20 and (character == '/' or character == '_' or length == 32) then
        result:extend { make(piece), may_break }
        piece, length = '', 0
      end
    end
    if piece ~= '' then result:insert(make(piece)) end
  end
  return result
end

--- The text of a value, or the columns of a table, as Python has made or refused them for a format.
local function printed(forms, fmt, token)
  local form = forms[fmt or '']
  if not form then fail(token, ('fmt="%s" is not a format'):format(fmt)) end
  if form.refused then fail(token, form.refused) end
  return form
end

local function cited_value(span)
  local kind = span.attributes.metric and 'metric' or span.attributes.run and 'run'
  if not kind then
    if #span.content == 0 then fail('[]{', 'an empty [] cites neither metric= nor run=') end
    return nil
  end
  local key = span.attributes[kind]
  local token = kind .. '=' .. key
  if data.values[token] == nil then
    fail(token, ('%s "%s" is not in %s'):format(kind == 'run' and 'value' or kind, key,
      kind == 'run' and 'run.json' or 'metrics.json'))
  end
  local text = inlines(printed(data.values[token], span.attributes.fmt, token), span.classes:includes 'code')
  return html and pandoc.Span(text, pandoc.Attr('', { 'value' }, { { 'title', key } })) or text
end

---------------------------------------------------------------------------------------- figures and tables

--- Number a figure or table; HTML gets the number from here, LaTeX and typst count the same way themselves.
local function label(block, kind, prefix)
  local id = block.identifier
  if not id:match('^' .. prefix .. ':.') then fail(id, ('a %s needs an identifier #%s:...'):format(kind:lower(), prefix)) end
  if labels[id] then fail('#' .. id, ('identifier "%s" is used twice'):format(id)) end
  if #block.caption.long == 0 then fail('#' .. id, ('"%s" has no caption'):format(id)) end
  counters[kind] = counters[kind] + 1
  labels[id] = ('%s %d'):format(kind, counters[kind])
  if html then
    block.caption.long[1].content:insert(1, pandoc.Span({ pandoc.Str(labels[id] .. '. ') }, { class = 'number' }))
  end
  return block
end

local resolved = {} -- sources of pictures that a figure has resolved
local function figure(block)
  local image
  block:walk { Image = function(found) image = found end }
  local name = image and image.src:match '^figure:([%w_-]+)$'
  if not name then
    local source = image and image.src or ''
    fail(source, ('picture "%s" must be cited as figure:NAME'):format(source))
  end
  local source = data.figures[name]
  if not source then fail('figure:' .. name, ('figure "%s" is not in figures/ (as .svg and .pdf)'):format(name)) end
  local alt = stringify(image.caption) -- pandoc has put alt="..." there, or else the caption
  if alt == '' or alt == stringify(block.caption.long) then
    fail('figure:' .. name, ('figure "%s" has no alt="..." text'):format(name))
  end
  resolved[source] = true
  image.src = source
  local picture = image
  if typst then -- pandoc leaves the alternative text out
    picture = pandoc.RawInline('typst', ('#image("%s", alt: "%s")'):format(source, (alt:gsub('[\\"]', '\\%0'))))
  end
  return label(pandoc.Figure({ pandoc.Plain { picture } }, block.caption, block.attr), 'Figure', 'fig')
end

--- Columns of half the length, those of the second half beside those of the first.
local function beside(columns)
  local result, half = {}, math.ceil(#columns[1].cells / 2)
  for part = 0, 1 do
    for _, column in ipairs(columns) do
      local cells = {}
      for r = 1, half do cells[r] = column.cells[part * half + r] or '' end
      table.insert(result, { title = column.title, numeric = column.numeric, cells = cells })
    end
  end
  return result
end

--- A table of the run; a column of numbers is set flush right.
local function data_table(div)
  local name, part = div.attributes.name or '', div.attributes.run
  local token = part and 'run=' .. part or 'name=' .. name
  local content = data.tables[token]
  if not content then
    fail(token, part and ('part "%s" is not in run.json'):format(part) or ('table "%s" is not in tables/'):format(name))
  end
  local align, widths, header, rows = {}, {}, {}, {}
  local columns = printed(content, div.attributes.fmt, token)
  if div.classes:includes 'beside' and not html and columns[1] then columns = beside(columns) end
  for c, column in ipairs(columns) do
    align[c], widths[c] = column.numeric and 'AlignRight' or 'AlignLeft', 0
    header[c] = { pandoc.Plain(inlines(column.title)) }
    for r, text in ipairs(column.cells) do
      rows[r] = rows[r] or {}
      rows[r][c] = { pandoc.Plain(inlines(text)) }
    end
  end
  local result = pandoc.utils.from_simple_table(pandoc.SimpleTable({}, align, widths, header, rows))
  result.identifier = div.identifier
  result.caption = { long = div.content:walk { Para = function(para) return pandoc.Plain(para.content) end } }
  return result
end

local function finish_table(block)
  local rows = 0
  block = label(block, 'Table', 'tbl')
  for _, row in ipairs(block.head.rows) do
    for _, cell in ipairs(row.cells) do
      cell.attributes.scope = 'col'
      if latex then cell.contents = cell.contents:walk { Plain = function(p) return pandoc.Plain { pandoc.Strong(p.content) } end } end
    end
  end
  for _, body in ipairs(block.bodies) do
    body.row_head_columns = 1
    for _, row in ipairs(body.body) do row.cells[1].attributes.scope, rows = 'row', rows + 1 end
  end
  if html then
    local attributes = { { 'tabindex', '0' }, { 'role', 'group' }, { 'aria-label', labels[block.identifier] } }
    return { pandoc.Div({ block }, pandoc.Attr('', { 'scroll' }, attributes)) }
  elseif latex and rows <= 40 then -- on the next page rather than cut in two
    return { pandoc.RawBlock('latex', ('\\needlines{%d}'):format(rows + 3)), block }
  elseif typst and rows > 40 then -- longer than a page
    return { pandoc.RawBlock('typst', '#[#show figure: set block(breakable: true)'), block, pandoc.RawBlock('typst', ']') }
  end
  return { block }
end

--- First pass, in reading order: figures, tables and conditional parts.
local function expand(blocks)
  local result = pandoc.Blocks {}
  for _, block in ipairs(blocks) do
    if block.t == 'Header' then section = stringify(block) end
    block:walk { Str = function(s)
      if s.text:find(']{', 1, true) or s.text:find('^:::') then fail(s.text, ('"%s" is not valid markup'):format(s.text)) end
    end }
    if block.t == 'Div' and block.classes:includes 'when' then
      if data.figures[block.attributes.figure or ''] then result:extend(expand(block.content)) end
    elseif block.t == 'Div' and block.classes:includes 'table' then
      result:extend(finish_table(data_table(block)))
    elseif block.t == 'Table' then -- long source lines are no reason for fixed widths
      block.colspecs = block.colspecs:map(function(spec) return { spec[1] } end)
      result:extend(finish_table(block))
    elseif block.t == 'Figure' then
      result:insert(figure(block))
    else
      if block.t == 'Div' then block.content = expand(block.content) end
      result:insert(block)
    end
  end
  return result
end

------------------------------------------------------------------------------------------- cross-references

local function is_reference(element) return element.t == 'Cite' and element.citations[1].id:match '^%l%l%l:' end

--- "Figure @fig:loss" -> one link with its number.
local function references(list)
  for i = #list, 1, -1 do
    if is_reference(list[i]) then
      local id = list[i].citations[1].id
      if not labels[id] then fail('@' .. id, ('cross-reference "@%s" leads nowhere'):format(id)) end
      local kind, n = labels[id]:match '^(%a+) (%d+)$'
      local text, first = n, i
      local bracket = i > 2 and (list[i - 1].t == 'Space' or list[i - 1].t == 'SoftBreak') and (list[i - 2].text or ''):match('^(%(?)' .. kind .. '$')
      if bracket then
        text, first = kind .. '\u{a0}' .. n, i - 2
        for _ = first + 1, i do list:remove(first + 1) end
        if bracket ~= '' then
          list:insert(first, pandoc.Str(bracket))
          first = first + 1
        end
      end
      if latex then
        list[first] = pandoc.RawInline('latex', (text:gsub(n .. '$', ''):gsub('\u{a0}', '~')) .. '\\ref{' .. id .. '}')
      else
        list[first] = pandoc.Link(text, '#' .. id)
      end
    end
  end
  return list
end

------------------------------------------------------------------------------------------------------- all

--- LaTeX does not break lines in a column without a width; typst and HTML divide the page themselves.
local function latex_widths(block)
  local longest, total = {}, 0
  local all = pandoc.List {}
  all:extend(block.head.rows)
  for _, body in ipairs(block.bodies) do all:extend(body.body) end
  for c = 1, #block.colspecs do
    longest[c] = 6
    for _, row in ipairs(all) do longest[c] = math.max(longest[c], utf8.len(stringify(row.cells[c].contents))) end
    total = total + longest[c]
  end
  if total <= 84 then return nil end
  for c, length in ipairs(longest) do
    longest[c] = math.min(length, 60) -- one endless text leaves room for the others
  end
  total = 0
  for _, length in ipairs(longest) do total = total + length end
  for c, length in ipairs(longest) do block.colspecs[c] = { block.colspecs[c][1], length / total } end
  return block
end

-- What pdfLaTeX prints with T1 fonts, beyond Latin-1; anything else becomes its code point, e.g. [U+1F600].
local printable = {}
for _, c in utf8.codes '–—‘’“”„…•€−≤≥→ĂăĄąĆćČčĎďĐđĘęĚěĞğĪĹĺĽľŁłŃńŇňŐőŒœŔŕŘřŚśŞşŠšŢţŤťŮůŰűŸŹźŻżŽž' do printable[c] = true end
local function pdflatex_text(element)
  element.text = element.text:gsub(utf8.charpattern, function(character)
    local c = utf8.codepoint(character)
    if c > 0xff and not printable[c] then return ('[U+%04X]'):format(c) end
  end)
  return element
end

function Pandoc(doc)
  doc.blocks = expand(doc.blocks)
  local anchors = { refs = true }
  for id in pairs(labels) do anchors[id] = true end
  for _, block in ipairs(doc.blocks) do if block.t == 'Header' then anchors[block.identifier] = true end end
  local second = {
    Span = cited_value,
    Inlines = references,
    Image = function(image)
      if not resolved[image.src] then
        fail(image.src, ('picture "%s" must stand in a paragraph of its own'):format(image.src))
      end
    end,
    Link = function(link)
      local id = link.target:match '^#(.*)'
      if id and not anchors[id] then fail(link.target, ('link "%s" leads nowhere'):format(link.target)) end
    end,
  }
  local function walk_all(steps)
    for key, value in pairs(doc.meta) do
      section = key
      local kind = pandoc.utils.type(value)
      if kind == 'Inlines' or kind == 'Blocks' then doc.meta[key] = value:walk(steps) end
    end
    for i, block in ipairs(doc.blocks) do
      if block.t == 'Header' then section = stringify(block) end
      doc.blocks[i] = pandoc.Blocks({ block }):walk(steps)[1]
    end
  end
  walk_all(second)
  if html and doc.meta.subtitle then doc.meta.pagesubtitle = stringify(doc.meta.subtitle) end -- no markup in a tab
  if latex then walk_all { Str = pdflatex_text, Code = pdflatex_text, Table = latex_widths } end
  return doc
end
