-- Sample roles and people of `roster demo`. Not a migration: only names that begin with a V are.
insert into roles (name, description) values
    ('Artist', 'Writes songs'),
    ('Manager', 'Looks after artists and publishes what they write'),
    ('Admin', 'May do everything');

insert into role_permissions (role, permission) values
    ('Artist', 'read:songs'), ('Artist', 'write:songs'),
    ('Manager', 'read:songs'), ('Manager', 'publish:songs'),
    ('Admin', 'read:songs'), ('Admin', 'write:songs'), ('Admin', 'publish:songs'), ('Admin', 'edit:songs'), ('Admin', 'manage:users'),
    ('Admin', 'roster:read'), ('Admin', 'roster:write'), ('Admin', 'roster:operate');

insert into users (email, name, role, blocked) values
    ('ada@example.com', 'Ada Adeyemi', 'Admin', false),
    ('bruno@example.com', 'Bruno Costa', 'Manager', false),
    ('chloe@example.com', 'Chloé Dubois', 'Artist', false),
    ('dmitri@example.com', 'Dmitri Orlov', 'Artist', false),
    ('emi@example.com', 'Emi Tanaka', 'Artist', false),
    ('felix@example.com', 'Felix Brandt', 'Artist', true);

-- One person may do more than the role says.
insert into user_permissions (user_id, permission)
select id, 'publish:songs' from users where email = 'chloe@example.com';
