//! Tokens that mean the same folded into one, until five are left or the value ends.
//!
//! The first five kinds are the fingerprint. Each step takes a token from the value, drops
//! one, changes a kind for good, or goes one token to the right; so the steps are linear in
//! the tokens.

use super::kind::{
    Kind::{self, *},
    TEXT_MAX, Token, set, traits,
};
use super::lexer::Lexer;
use super::words;

/// Tokens that a fingerprint has at most.
pub(super) const MAX: usize = 5;

pub(super) struct Folded {
    tokens: [Token; 8],
    len: usize,
}

impl Folded {
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens[..self.len]
    }
}

/// Reads and folds what the lexer gives, the string that the value begins within first.
pub(super) fn fold(lexer: &mut Lexer<'_>, open_string: Option<Token>) -> Folded {
    let mut folder =
        Folder { lexer, tokens: [Token::NONE; 8], next: 0, left: 0, more: true, comment: Option::None };
    let len = if folder.skip_to_first(open_string) { folder.fold() } else { 0 };
    let mut folded = Folded { tokens: folder.tokens, len };
    folded.mark_tick_comment();
    folded
}

impl Folded {
    /// PHP code often closes a statement with a lone tick: it acts as a comment.
    fn mark_tick_comment(&mut self) {
        if self.len <= 2 {
            return;
        }
        let last = &mut self.tokens[self.len - 1];
        if last.kind == Bareword && last.open == b'`' && last.close == 0 && last.len == 0 {
            last.kind = Comment;
        }
    }
}

struct Folder<'l, 'a> {
    lexer: &'l mut Lexer<'a>,
    tokens: [Token; 8],
    /// Where the next token goes.
    next: usize,
    /// The first token that is still to be compared with those after it.
    left: usize,
    /// Whether the value has more tokens.
    more: bool,
    /// The comment read last, where no other token followed.
    comment: Option<Token>,
}

/// What became of two or three tokens.
enum Step {
    /// They changed: begin again.
    Again,
    /// Nothing (more) to fold.
    On,
    /// An attack by itself: the first token says so.
    Stop,
}

impl Folder<'_, '_> {
    /// Comments, opening parentheses, types and signs before the first token mean nothing.
    fn skip_to_first(&mut self, open_string: Option<Token>) -> bool {
        let mut token = open_string.or_else(|| self.lexer.next());
        while let Some(first) = token {
            if !first.kind.is_in(set(&[Comment, LeftParen, SqlType])) && !first.is_unary() {
                self.tokens[0] = first;
                self.next = 1;
                return true;
            }
            token = self.lexer.next();
        }
        false
    }

    fn fold(&mut self) -> usize {
        loop {
            if self.next >= MAX {
                self.fold_five();
            }
            if !self.more || self.left >= MAX {
                break;
            }
            self.read(2);
            if self.next - self.left < 2 {
                self.left = self.next;
                continue;
            }
            match self.fold_two() {
                Step::Again => continue,
                Step::On => {}
                Step::Stop => return 1,
            }
            self.read(3);
            if self.next - self.left < 3 {
                self.left = self.next;
                continue;
            }
            if self.fold_three() {
                continue;
            }
            self.left += 1;
        }
        let mut len = self.next;
        if let (Some(comment), true) = (self.comment, len < MAX) {
            self.tokens[len] = comment;
            len += 1;
        }
        len.min(MAX)
    }

    /// Reads tokens until there are `count` from `left` on, no more than six in all.
    #[inline]
    fn read(&mut self, count: usize) {
        while self.more && self.next <= MAX && self.next - self.left < count {
            match self.lexer.next() {
                Option::None => self.more = false,
                Some(token) if token.kind == Comment => self.comment = Some(token),
                Some(token) => {
                    self.tokens[self.next] = token;
                    self.comment = Option::None;
                    self.next += 1;
                }
            }
        }
    }

    fn kinds(&self, at: usize) -> (Kind, Kind, Kind) {
        let [a, b, c] = [0, 1, 2].map(|i| self.tokens[at + i].kind);
        (a, b, c)
    }

    /// Five tokens that are an expression of one value.
    fn fold_five(&mut self) {
        let (a, b, c) = self.kinds(0);
        let (d, e) = (self.tokens[3].kind, self.tokens[4].kind);
        let folds = matches!(
            (a, b, c, d, e),
            (Number, Operator | Comma, LeftParen, Number, RightParen)
                | (Bareword, Operator, LeftParen, Bareword | Number, RightParen)
                | (Number, RightParen, Comma, LeftParen, Number)
                | (Bareword, RightParen, Operator, LeftParen, Bareword)
        );
        if !folds {
            return;
        }
        if self.next > MAX {
            self.tokens[1] = self.tokens[MAX];
            self.next = 2;
        } else {
            self.next = 1;
        }
        self.left = 0;
    }

    /// Drops the newest `count` tokens and begins at the first again.
    fn drop_newest(&mut self, count: usize) {
        self.next -= count;
        self.left = 0;
    }

    fn step_back(&mut self) {
        self.next -= 1;
        self.left = self.left.saturating_sub(1);
    }

    #[inline]
    fn fold_two(&mut self) -> Step {
        let a = self.tokens[self.left];
        let b = self.tokens[self.left + 1];
        let may = SECOND[a.kind as usize] & b.kind.bit() != 0 || a.traits & traits::PHRASE != 0;
        if may { self.fold_pair(a, b) } else { Step::On }
    }

    fn fold_pair(&mut self, a: Token, b: Token) -> Step {
        let (left, right) = (self.left, self.left + 1);
        match (a.kind, b.kind) {
            // `'a' 'b'` is one string, `;;` one semicolon.
            (String, String) | (Semicolon, Semicolon) => self.next -= 1,
            // `1 + -`, `and not`: the sign means nothing.
            (Operator | Logic, _) if b.is_unary() || b.kind == SqlType => self.drop_newest(1),
            (LeftParen, _) if b.is_unary() => self.step_back(),
            _ if self.merge(&a, &b) => self.step_back(),
            // `; if …`: T-SQL's statement, not MySQL's function.
            (Semicolon, Function) if b.traits & traits::IF != 0 => {
                self.tokens[right].kind = Tsql;
            }
            (Bareword | Variable, LeftParen) if self.is_callable(&a) => {
                self.tokens[left].kind = Function;
            }
            // `in (…)` compares; else (`in boolean mode`) it is nothing.
            (Keyword, other) if a.traits & traits::IN != 0 => {
                self.tokens[left].kind = if other == LeftParen { Operator } else { Bareword };
            }
            (Operator, _) if a.traits & traits::LIKE != 0 => {
                if b.kind == LeftParen {
                    self.tokens[left].kind = Function;
                }
                return Step::On;
            }
            (SqlType, Bareword | Number | SqlType | LeftParen | Function | Variable | String) => {
                self.tokens[left] = b;
                self.drop_newest(1);
            }
            // Collations are too many to list: the name has a `_`.
            (Collate, Bareword) => {
                if self.has_underscore(&b) {
                    self.tokens[right].kind = SqlType;
                    self.left = 0;
                }
                return Step::On;
            }
            // T-SQL reads `\%1` as `0 % 1`, and `\1` as `1`.
            (Backslash, _) => {
                if b.is_arithmetic() {
                    self.tokens[left].kind = Number;
                    self.left = 0;
                } else {
                    self.tokens[left] = b;
                    self.drop_newest(1);
                }
            }
            (LeftParen, LeftParen) | (RightParen, RightParen) => self.drop_newest(1),
            (LeftBrace, Bareword) if b.len == 0 => {
                // MySQL's ``{``.``.id}``.
                self.tokens[0].kind = Evil;
                return Step::Stop;
            }
            // ODBC's `{d '…'}`: what is within counts.
            (LeftBrace, Bareword) => self.drop_newest(2),
            (_, RightBrace) => self.drop_newest(1),
            _ => return Step::On,
        }
        Step::Again
    }

    /// Whether three tokens were folded.
    #[inline]
    fn fold_three(&mut self) -> bool {
        let (a, b, c) = self.kinds(self.left);
        THIRD[a as usize] & b.bit() != 0 && self.fold_triple(a, b, c)
    }

    fn fold_triple(&mut self, a: Kind, b: Kind, c: Kind) -> bool {
        let left = self.left;
        let middle = self.tokens[left + 1];
        let unary = middle.is_unary();
        match (a, b, c) {
            // `1 + 1` is a number, `a + 1` a name, `x and y and` as `x and`.
            (Number, Operator, Number) => self.drop_newest(2),
            (Operator, _, Operator) if b != LeftParen => self.drop_newest(2),
            (Logic, _, Logic) => self.drop_newest(2),
            (Variable, Operator, Variable | Number | Bareword) => self.drop_newest(2),
            (Bareword | Number, Operator, Number | Bareword) => self.drop_newest(2),
            (Bareword | Number | Variable | String, Operator, SqlType)
                if middle.traits & traits::CAST != 0 =>
            {
                self.drop_newest(2);
            }
            (Bareword | Number | String | Variable, Comma, Number | Bareword | String | Variable) => {
                self.drop_newest(2)
            }
            // The sign of `select -1`, `limit -(…`, `, -sin(1)` means nothing.
            (Expression | Group | Comma, _, LeftParen)
            | (Keyword | Expression | Group, _, Number | Bareword | Variable | String | Function)
            | (Comma, _, Function)
                if unary =>
            {
                self.drop_middle();
            }
            // `1, -1` goes altogether, so that what stood before folds with what follows.
            (Comma, _, Number | Bareword | Variable | String) if unary => {
                self.drop_middle();
                self.next = self.next.saturating_sub(2);
            }
            (Bareword, Dot, Bareword) => self.drop_newest(2),
            (Expression, Dot, Bareword) => self.drop_middle(),
            (Function, LeftParen, _) => {
                // `user()` is a function, `user(id)` a table.
                if c != RightParen && self.is(&self.tokens[left], b"USER") {
                    self.tokens[left].kind = Bareword;
                }
                return false;
            }
            _ => return false,
        }
        true
    }

    fn drop_middle(&mut self) {
        self.tokens[self.left + 1] = self.tokens[self.left + 2];
        self.drop_newest(1);
    }

    /// `GROUP` and `BY` to `GROUP BY`, as the table of words has it.
    fn merge(&mut self, a: &Token, b: &Token) -> bool {
        const FIRST: u32 = set(&[Keyword, Bareword, Operator, Union, Function, Expression, Tsql, SqlType]);
        const SECOND: u32 = FIRST | Logic.bit();
        if a.traits & traits::PHRASE == 0 || !a.kind.is_in(FIRST) || !b.kind.is_in(SECOND) {
            return false;
        }
        let (first, second) = (a.len as usize, b.len as usize);
        let len = first + 1 + second;
        if len > TEXT_MAX {
            return false;
        }
        let mut phrase = [b' '; 32];
        self.copy_text(a, &mut phrase[..first]);
        self.copy_text(b, &mut phrase[first + 1..len]);
        let id = words::lookup(&phrase[..len]);
        let word = words::word(id);
        if word.kind == None {
            return false;
        }
        self.tokens[self.left] =
            Token { kind: word.kind, len: len as u8, traits: word.traits, word: id, ..*a };
        true
    }

    fn copy_text(&self, token: &Token, to: &mut [u8]) {
        if token.word != 0 {
            to.copy_from_slice(&words::word(token.word).bytes()[..to.len()]);
            return;
        }
        let start = token.start as usize;
        to.copy_from_slice(&self.lexer.text()[start..start + to.len()]);
    }

    /// The text of a token that is no merged phrase.
    fn text(&self, token: &Token) -> &[u8] {
        let start = token.start as usize;
        &self.lexer.text()[start..start + token.len as usize]
    }

    fn is(&self, token: &Token, capitals: &[u8]) -> bool {
        token.len as usize == capitals.len() && self.text(token).eq_ignore_ascii_case(capitals)
    }

    fn is_callable(&self, token: &Token) -> bool {
        // A variable's name isn't looked up before.
        let id = words::lookup(self.text(token));
        words::word(id).traits & traits::CALLABLE != 0
    }

    fn has_underscore(&self, token: &Token) -> bool {
        let text = self.text(token);
        text.iter().take_while(|&&b| b != 0).any(|&b| b == b'_')
    }
}

/// By first kind: the second kinds with which it may fold. Phrases aside.
static SECOND: [u32; 32] = {
    const ANY: u32 = u32::MAX;
    let mut sets = [RightBrace.bit(); 32];
    sets[String as usize] |= String.bit();
    sets[Semicolon as usize] |= set(&[Semicolon, Function]);
    sets[Operator as usize] |= set(&[Operator, SqlType, LeftParen]);
    sets[Logic as usize] |= set(&[Operator, SqlType]);
    sets[LeftParen as usize] |= set(&[Operator, LeftParen]);
    sets[Bareword as usize] |= LeftParen.bit();
    sets[Variable as usize] |= LeftParen.bit();
    sets[Keyword as usize] = ANY;
    sets[SqlType as usize] |= set(&[Bareword, Number, SqlType, LeftParen, Function, Variable, String]);
    sets[Collate as usize] |= Bareword.bit();
    sets[Backslash as usize] = ANY;
    sets[RightParen as usize] |= RightParen.bit();
    sets[LeftBrace as usize] |= Bareword.bit();
    sets
};

/// By first kind: the second kinds with which, and with a third, it may fold.
static THIRD: [u32; 32] = {
    let mut sets = [0; 32];
    sets[Number as usize] = set(&[Operator, Comma]);
    sets[Bareword as usize] = set(&[Operator, Comma, Dot]);
    sets[Variable as usize] = set(&[Operator, Comma]);
    sets[String as usize] = set(&[Operator, Comma]);
    sets[Operator as usize] = !LeftParen.bit();
    sets[Logic as usize] = u32::MAX;
    sets[Expression as usize] = set(&[Operator, Dot]);
    sets[Group as usize] = Operator.bit();
    sets[Comma as usize] = Operator.bit();
    sets[Keyword as usize] = Operator.bit();
    sets[Function as usize] = LeftParen.bit();
    sets
};
